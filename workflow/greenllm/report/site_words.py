"""The factors of a site and its equipment in words: what each is, which key sets it, its value, interval and source."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import Equipment, SiteFactors
from greenllm.report.language import listed, noted, text
from greenllm.report.numbers import TO, with_bounds


@dataclass(frozen=True)
class SiteFactor:
    """A factor of a site: its name, the key of the configuration that sets it, and what a lack of it is called."""

    name: str
    key: str
    lack: str


FACTORS = {
    "grid_carbon": SiteFactor(noted("Carbon of the grid"), "site.country", noted("no factor of the grid is known")),
    "grid_carbon_marginal": SiteFactor(
        noted("Marginal carbon of the grid"), "site.country", noted("no marginal factor of the grid is known")
    ),
    "market_carbon": SiteFactor(
        noted("Carbon by contract"), "site.market_carbon_g_per_kWh", noted("no factor of a contract is given")
    ),
    "grid_water": SiteFactor(
        noted("Water of the grid"), "site.country", noted("no factor of the grid's water is known")
    ),
    "pue": SiteFactor("PUE", "site.pue", noted("no PUE is given")),
    "wue": SiteFactor("WUE", "site.wue_L_per_kWh", noted("no WUE is given")),
    "erf": SiteFactor("ERF", "site.erf", noted("no ERF is given")),
    "renewable": SiteFactor(
        noted("Renewable share"), "site.renewable_share", noted("no share of renewable energy is given")
    ),
    "heat_carbon": SiteFactor(
        noted("Carbon of the heating that is displaced"), "site.country", noted("no factor of heating is known")
    ),
    "price": SiteFactor(noted("Price of electricity"), "site.price_per_kWh", noted("no price of electricity is given")),
}


def why_unknown(site: SiteFactors, *names: str) -> str:
    """Return which of some factors are unknown, with the keys that set them; "" where none is."""
    lacks = [
        text("{lack} ({key})", lack=text(FACTORS[name].lack), key=FACTORS[name].key)
        for name in names
        if getattr(site, name) is None
    ]
    return "; ".join(lacks)


def _said(name: str, factor: Factor) -> str:
    bounds = "" if factor.low is None or factor.high is None else f"{factor.low:.6g}" + text(TO) + f"{factor.high:.6g}"
    return text(
        "{name} = {value}, {place}, {year}; interval: {interval}; source: {source}; licence: {licence}",
        name=name, value=with_bounds(f"{factor.value:.10g} {factor.unit}", bounds), place=factor.place,
        year=factor.year or text("year unknown"), interval=factor.interval or text("none given"),
        source=factor.source, licence=factor.licence or text("not given"),
    )  # fmt: skip


def site_factors_said(site: SiteFactors) -> dict[str, str]:
    """Return each factor of a site with its value and source, or why it is unknown."""
    found = {}
    for field, named in FACTORS.items():
        factor: Factor | None = getattr(site, field)
        found[f"site.{field}"] = (
            text("{name}: unknown, {why}", name=text(named.name), why=why_unknown(site, field))
            if factor is None
            else _said(text(named.name), factor)
        )
    return found


def equipment_said(equipment: Sequence[Equipment]) -> str:
    """Return the embodied carbon and life of each kind of equipment, a line for each."""
    lines = []
    for one in equipment:
        parts = [
            _said(text(name, equipment=one.name), factor)
            for name, factor in (
                (noted("Embodied carbon of {equipment}"), one.embodied), (noted("Life of {equipment}"), one.life),
            )
            if factor is not None
        ]  # fmt: skip
        lines += parts or [text("Embodied carbon of {equipment}: unknown", equipment=one.name)]
    return "\n".join(lines) or text("Embodied carbon: unknown")


def outdated_said(outdated: Sequence[str]) -> str:
    """Return which factors are outdated; "" where none is."""
    return (
        text("More than two years old, or of no known year: {factors}.", factors=listed(list(outdated)))
        if outdated
        else ""
    )
