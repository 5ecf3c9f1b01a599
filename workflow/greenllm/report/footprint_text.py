"""A footprint as text for the terminal: its site, tables by recipe and for a thousand requests, and decisions."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from greenllm.account.footprint_document import Footprint
from greenllm.footprint.consequences import Consequences
from greenllm.report.numbers import percent, quantity
from greenllm.report.robustness import at_the_site, sentence, together
from greenllm.report.tables.shared import currency_of

UNITS = {"it_J": "J", "site_J": "J", "carbon_it_g": "g", "carbon_g": "g", "market_carbon_g": "g", "embodied_g": "g",
         "water_L": "L", "cost": ""}  # fmt: skip
TITLES = {
    "it_J": "IT equipment", "site_J": "site", "carbon_it_g": "CO2e, IT", "carbon_g": "CO2e, site",
    "market_carbon_g": "CO2e, by contract", "embodied_g": "embodied", "water_L": "water", "cost": "cost",
}  # fmt: skip


def footprint_text(found: Footprint) -> str:
    """Return the footprint as paragraphs and tables, quantities with their 95 % intervals."""
    sums = [row for row in found.rows if row.stage == "all"]
    parts = [
        _head(found),
        _table(["experiment", "recipe"], sums, ("experiment", "recipe"), found),
        "For a thousand requests, under load:",
        _table(["experiment", "recipe"], found.requests, ("experiment", "recipe"), found),
    ]
    if found.elsewhere:
        parts += [
            "Projection: the same run elsewhere, not measured there:",
            _table(["place", "year"], found.elsewhere, ("place", "year"), found),
        ]
    parts += [_decisions(found), _unknown(found)]
    return "\n\n".join(part for part in parts if part)


def _head(found: Footprint) -> str:
    projection = f"\nProjection: {'; '.join(found.projection)}." if found.projection else ""
    outdated = f"\nOutdated: {'; '.join(found.outdated)}." if found.outdated else ""
    covered = ""
    if found.covered is not None:
        rest = "" if found.covered >= 1 else "; the year's mean is used for the rest"
        covered = f"\nThe recorded series covers {percent(found.covered)} of the jobs' time{rest}."
    return f"{found.site.place}, factors for {found.year}; 95 % intervals.{projection}{covered}{outdated}"


def _table(heads: Sequence[str], rows: Sequence[Consequences], keys: Sequence[str], found: Footprint) -> str:
    if not rows:
        return ""
    known = [name for name in UNITS if any(getattr(row, name) is not None for row in rows)]
    shown = [name for name in known if not (name == "carbon_it_g" and "carbon_g" in known)]
    currency = currency_of(found)
    cells = [
        [
            *(getattr(row, key) for key in keys),
            *(quantity(getattr(row, name), currency if name == "cost" else UNITS[name]) for name in shown),
        ]
        for row in rows
    ]
    text: str = tabulate(cells, [*heads, *(TITLES[name] for name in shown)], disable_numparse=True)
    return text


def _decisions(found: Footprint) -> str:
    return "\n".join(_lines(found))


def _lines(found: Footprint) -> Iterable[str]:
    for decision in found.decisions:
        if decision.reason:
            yield f"{decision.experiment}: {decision.reason}"
            continue
        recommended = decision.recommended or ""
        yield f"{decision.experiment}: {recommended} is recommended. Does that hold?"
        yield f"  {at_the_site(decision)} {together(decision)}".rstrip()
        for sweep in decision.sweeps:
            yield f"  {sentence(sweep, recommended)}"
        if not decision.embodied:
            yield "  Embodied carbon is unknown and is no part of these comparisons."


def _unknown(found: Footprint) -> str:
    missing: dict[str, list[str]] = {}
    for quantity_, reason in found.unknown.items():
        missing.setdefault(reason.removeprefix("unknown: "), []).append(quantity_)
    return "\n".join(f"Unknown for lack of {reason}: {', '.join(names)}" for reason, names in missing.items())
