"""Factors that a user gives with a command: a number, or a number with its 95 % bounds."""

import re
from dataclasses import dataclass

from greenllm.errors import UserError
from greenllm.footprint.factor import Factor

GIVEN = "given with the command"


@dataclass(frozen=True)
class GivenKind:
    """A kind of factor: its field of `SiteFactors`, its name and unit, and the range of plausible values."""

    field: str
    name: str
    unit: str
    least: float
    most: float


# By option. The ranges hold whatever is on a grid or on sale.
KINDS = {
    "carbon": GivenKind("grid_carbon", "grid carbon", "gCO2e/kWh", 1, 2000),
    "marginal-carbon": GivenKind("grid_carbon_marginal", "grid carbon, marginal", "gCO2e/kWh", 1, 2000),
    "market-carbon": GivenKind("market_carbon", "market carbon", "gCO2e/kWh", 0, 2000),
    "grid-water": GivenKind("grid_water", "grid water", "L/kWh", 0, 100),
    "pue": GivenKind("pue", "PUE", "kWh/kWh", 1, 5),
    "wue": GivenKind("wue", "WUE", "L/kWh", 0, 20),
    "erf": GivenKind("erf", "ERF", "kWh/kWh", 0, 1),
    "renewable": GivenKind("renewable", "renewable share", "kWh/kWh", 0, 1),
    "heat-carbon": GivenKind("heat_carbon", "heat carbon", "gCO2e/kWh", 1, 2000),
    "price": GivenKind("price", "price", "{currency}/kWh", -1e6, 1e6),
}


def given_factor(option: str, text: str, year: int, currency: str = "") -> Factor:
    """Return the factor of an option's text: VALUE, taken as exact, or LOW:VALUE:HIGH.

    Raises UserError for another text, and for a value that is not plausible.
    """
    kind = KINDS[option]
    unit = kind.unit.format(currency=currency)
    numbers = [_number(part) for part in re.split(":", text)]
    if len(numbers) not in (1, 3) or None in numbers:
        raise UserError(f"--{option} {text}: expected a number in {unit}, or LOW:VALUE:HIGH with its 95 % bounds")
    known = [number for number in numbers if number is not None]
    low, value, high = known if len(known) == 3 else known * 3
    if not low <= value <= high:
        raise UserError(f"--{option} {text}: expected LOW <= VALUE <= HIGH")
    for number in (low, value, high):
        if not kind.least <= number <= kind.most:
            raise UserError(
                f"--{option} {text}: a {kind.name} of {number:g} {unit} is not plausible; expected {kind.least:g} to "
                f"{kind.most:g} {unit}{_hint(number, kind)}"
            )
    return Factor(
        name=kind.name,
        place=GIVEN,
        value=value,
        low=low,
        high=high,
        interval="taken as exact" if len(known) == 1 else GIVEN,
        unit=unit,
        year=year,
        source=GIVEN,
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _hint(number: float, kind: GivenKind) -> str:
    if "gCO2e" in kind.unit and kind.least <= number * 1000 <= kind.most and number < kind.least:
        return f"; {number * 1000:g} is plausible: was the value in kg?"
    return ""
