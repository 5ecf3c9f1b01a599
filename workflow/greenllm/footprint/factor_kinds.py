"""The kinds of factors: the unit of each, and the range outside which a value is questioned."""

from dataclasses import dataclass

from greenllm.errors import UserError


@dataclass(frozen=True)
class Kind:
    """A kind of factor. Values below `least` or above `most` are taken for a mistake, such as kg for g."""

    unit: str
    least: float
    most: float


# The ranges hold everything that is on a grid or on sale: no country's mean exceeds 1,400 gCO2e/kWh, for example.
KINDS = {
    "grid carbon": Kind("gCO2e/kWh", 1, 2000),
    "grid carbon, marginal": Kind("gCO2e/kWh", 1, 2000),
    "market carbon": Kind("gCO2e/kWh", 0, 2000),
    "grid water": Kind("L/kWh", 0, 100),
    "PUE": Kind("kWh/kWh", 1, 5),
    "WUE": Kind("L/kWh", 0, 20),
    "ERF": Kind("kWh/kWh", 0, 1),
    "renewable share": Kind("kWh/kWh", 0, 1),
    "heat carbon": Kind("gCO2e/kWh", 1, 2000),
    "embodied processor": Kind("kgCO2e", 1, 1000),
    "embodied gpu": Kind("kgCO2e", 5, 5000),
    "embodied memory": Kind("kgCO2e/GB", 0.001, 10),
    "embodied disk": Kind("kgCO2e/GB", 0.0001, 1),
    "embodied server": Kind("kgCO2e", 20, 20_000),
    "life of processor": Kind("years", 0.5, 20),
    "life of gpu": Kind("years", 0.5, 20),
    "life of memory": Kind("years", 0.5, 20),
    "life of disk": Kind("years", 0.5, 20),
    "life of server": Kind("years", 0.5, 20),
}


def require_plausible(name: str, value: float, where: str) -> None:
    """Raise UserError, which starts with `where`, if a value of a kind of factor is outside its range."""
    kind = KINDS[name]
    if kind.least <= value <= kind.most:
        return
    grams = value * 1000 if value < kind.least else value / 1000
    kilograms = "gCO2e" in kind.unit and not kind.unit.startswith("kg") and kind.least <= grams <= kind.most
    hint = f"; {grams:g} is plausible: was the value in kg or mg?" if kilograms else ""
    raise UserError(
        f"{where}: a {name} of {value:g} {kind.unit} is not plausible; "
        f"expected {kind.least:g} to {kind.most:g} {kind.unit}{hint}"
    )
