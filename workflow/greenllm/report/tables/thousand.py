"""What a thousand requests take: energy, carbon, water and money."""

from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.estimate import Interval, PartialInterval
from greenllm.footprint.carbon import carbon_g
from greenllm.report.derivation import FOOTPRINT_FILES, MEASURED, Ledgers
from greenllm.report.language import noted, text
from greenllm.report.site_words import why_unknown
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import NO_FOOTPRINT, RECIPE, UNKNOWN, currency_of

REQUESTS = 1000


@dataclass(frozen=True)
class ThousandRow:
    """What a thousand requests to a recipe's server take; None is unknown, and the reasons say why."""

    experiment: str
    recipe: str
    seeds: list[int]
    energy_J: Interval | None
    energy_kWh: Interval | None
    carbon_g: PartialInterval | None
    total_g: PartialInterval | None
    water_L: PartialInterval | None
    cost: PartialInterval | None
    water_reason: str
    cost_reason: str
    carbon_reason: str
    energy_reason: str


def thousand_rows(account: Account, footprint: Footprint | None) -> list[ThousandRow]:
    """Return what a thousand requests to each recipe take; carbon, water and money are those of the site."""
    rows = []
    of_requests = {} if footprint is None else {(one.experiment, one.recipe): one for one in footprint.requests}
    water = price = text(NO_FOOTPRINT)
    if footprint is not None:
        water = why_unknown(footprint.site, "wue", "grid_water", "pue")
        price = why_unknown(footprint.site, "price", "pue")
    for name, experiment in account.experiments.items():
        for row in experiment.comparison.recipes:
            request = row.energy_per_request_J
            energy = None if request is None else Interval(*(REQUESTS * one for one in request))
            kilowatt_hours = None if energy is None else Interval(*(one / 3.6e6 for one in energy))
            found = of_requests.get((name, row.recipe))
            unmeasured = text(row.reason or noted("no request was answered")) if energy is None else ""
            carbon = carbon_g(energy, account.grid) if found is None else found.carbon_g or found.carbon_it_g
            rows.append(
                ThousandRow(
                    name, row.recipe, row.seeds_measured, energy, kilowatt_hours, carbon,
                    found.total_g if found else None, found.water_L if found else None, found.cost if found else None,
                    unmeasured or water, unmeasured or price, unmeasured or account.grid_reason or "", unmeasured,
                )
            )  # fmt: skip
    return rows


def thousand(account: Account, footprint: Footprint | None) -> Table:
    """One row a recipe: energy, carbon, water and money of a thousand requests."""
    ledgers = Ledgers(account)
    per_request = noted("1000 × energy per request (table comparison)")
    return Table(
        "thousand-requests",
        noted("A thousand requests: the server's energy, and what follows from it"),
        ThousandRow,
        [
            *RECIPE,
            Column("energy_J", "Energy", "J", "interval", UNKNOWN, formula=per_request, factors=MEASURED),
            Column(
                "energy_kWh", "Energy in kWh", "kWh", "interval", UNKNOWN, on_page=False,
                formula=noted("1000 × energy per request / 3.6 MJ/kWh"), factors=MEASURED,
            ),
            Column(
                "carbon_g", "Carbon, location-based", "g CO₂e", "interval", UNKNOWN,
                formula=noted("1000 × energy per request / 3.6 MJ/kWh × PUE where it is known × grid carbon"),
                factors=("grid", *MEASURED) if footprint is None else ("site.grid_carbon", "site.pue", *MEASURED),
            ),
            Column(
                "total_g", "Carbon with embodied", "g CO₂e", "interval", UNKNOWN,
                formula=noted(
                    "carbon + embodied carbon of what the server reserves: embodied carbon / life × time of 1000 "
                    "requests × share reserved"
                ),
                factors=() if footprint is None else ("site.grid_carbon", "site.pue", "equipment", *MEASURED),
            ),
            Column(
                "water_L", "Water", "L", "interval", UNKNOWN,
                formula=noted("1000 × energy per request / 3.6 MJ/kWh × (WUE + PUE × water of the grid)"),
                factors=() if footprint is None else ("site.wue", "site.grid_water", "site.pue", *MEASURED),
            ),
            Column(
                "cost", "Money", currency_of(footprint), "interval", UNKNOWN,
                formula=noted("1000 × energy per request / 3.6 MJ/kWh × PUE × price"),
                factors=() if footprint is None else ("site.price", "site.pue", *MEASURED),
            ),
        ],
        thousand_rows(account, footprint),
        [text("Of the server alone, while it answers; without the making of the model.")],
        lambda row: ledgers.served(row.experiment, row.seeds, row.recipe, others=FOOTPRINT_FILES if footprint else ()),
    )  # fmt: skip
