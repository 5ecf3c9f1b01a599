"""What the decision depends on: factors over their ranges, requests a day, when a model is repaid, other places."""

from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.account.footprint_document import Elsewhere, Footprint, FootprintRow, Repayment, RequestsPerDay
from greenllm.estimate import PartialInterval
from greenllm.report.derivation import FOOTPRINT_FILES, MEASURED, Ledgers, Origin
from greenllm.report.language import noted, text
from greenllm.report.robustness import factor_name, range_text, sentence
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, currency_of

_SITE = ("site.grid_carbon", "site.pue", "equipment", *MEASURED)
_PRICE = ("site.price", "site.pue", *MEASURED)


@dataclass(frozen=True)
class RangeRow:
    """A factor that was varied, and where in its range the recommended recipe is best."""

    experiment: str
    factor: str
    range: str
    result: str
    why: str


def factor_ranges(_: Account, footprint: Footprint | None) -> Table:
    """One row an experiment and factor: whether the recommendation holds over its range."""
    return Table(
        "factor-ranges",
        noted("The recommendation over each factor's range"),
        RangeRow,
        [
            Column("experiment", "Experiment"),
            Column("factor", "Factor"),
            Column("range", "Range"),
            Column("result", "Result", factors=_SITE,
                   formula=noted("order of the recipes at 60 values of the factor; bounds by bisection")),
            Column("why", "Why this range"),
        ],
        [
            RangeRow(
                decision.experiment, factor_name(sweep.factor), range_text(sweep),
                sentence(sweep, decision.recommended or ""), text(sweep.why),
            )
            for decision in (footprint.decisions if footprint else [])
            for sweep in decision.sweeps
        ],
        [
            text(
                "The other factors stay as they are. Recipes that can't be told apart share first place: the order of "
                "two is the same in less than 97.5 % of the draws, or they differ by less than the host can resolve."
            )
        ],
        lambda row: Origin(FOOTPRINT_FILES),
    )  # fmt: skip


@dataclass(frozen=True)
class DayRow:
    """A recipe at a number of requests a day."""

    experiment: str
    recipe: str
    found: RequestsPerDay


def requests_a_day(account: Account, footprint: Footprint | None) -> Table:
    """One row a recipe and number of requests a day: energy, carbon and money of a request, idle time included."""
    ledgers = Ledgers(account)
    return Table(
        "requests-a-day",
        noted("A request, by the number of requests a day"),
        DayRow,
        [
            *RECIPE,
            Column("requests_per_day", "Requests a day", None, "number", field="found.requests_per_day"),
            Column(
                "energy_J", "Energy", "J", "interval", UNKNOWN, field="found.energy_J", factors=MEASURED, own_unit=True,
                formula=noted(
                    "energy per request + idle power of the server × (86400 s / requests a day − time of a request)"
                ),
            ),
            Column(
                "carbon_g", "Carbon with embodied", "g CO₂e", "interval", UNKNOWN, field="found.carbon_g",
                own_unit=True, factors=_SITE,
                formula=noted(
                    "energy / 3.6 MJ/kWh × PUE × carbon of the grid + embodied carbon of what is reserved all day "
                    "(where it is known)"
                ),
            ),
            Column(
                "cost", "Money", currency_of(footprint), "interval", UNKNOWN, field="found.cost", own_unit=True,
                formula=noted("energy / 3.6 MJ/kWh × PUE × price"), factors=_PRICE,
            ),
        ],
        [
            DayRow(decision.experiment, row.recipe, row)
            for decision in (footprint.decisions if footprint else [])
            for row in decision.per_day
        ],
        [
            text(
                "With the idle time between requests to one server, without the making of the model. Numbers that a "
                "server can't answer in a day are left out."
            )
        ],
        lambda row: ledgers.requests(row.experiment, row.recipe),
    )  # fmt: skip


@dataclass(frozen=True)
class RepaidRow:
    """What a recipe's model takes more to be made, what a request saves, and when that is even."""

    experiment: str
    recipe: str
    energy: Repayment
    carbon: Repayment
    money: Repayment


def repaid(account: Account, footprint: Footprint | None) -> Table:
    """One row a recipe but the baseline: after how many requests its making is repaid, in energy, carbon and money."""
    ledgers, rows = Ledgers(account), []
    for decision in footprint.decisions if footprint else []:
        by_recipe: dict[str, dict[str, Repayment]] = {}
        for one in decision.repayments:
            by_recipe.setdefault(one.recipe, {})[one.measure] = one
        rows += [
            RepaidRow(decision.experiment, recipe, found["energy"], found["carbon"], found["cost"])
            for recipe, found in by_recipe.items()
        ]

    def saved_by(row: RepaidRow) -> Origin:
        return ledgers.requests(row.experiment, row.recipe, account.experiments[row.experiment].comparison.baseline)

    def extra_by(row: RepaidRow) -> Origin:
        baseline = account.experiments[row.experiment].comparison.baseline
        return ledgers.made(row.experiment, row.recipe, baseline, others=FOOTPRINT_FILES)

    money = currency_of(footprint)
    extra, saved = noted("to make the recipe's model − to make the baseline's"), noted("the baseline's − the recipe's")
    even = noted("what making it takes more / what a request saves")
    columns = [*RECIPE]
    for field, unit, titles, factors in (
        ("energy", "J", (noted("Making it, more energy"), noted("A request saves"), noted("Energy even after")),
         MEASURED),
        ("carbon", "g CO₂e", (noted("Making it, more carbon"), noted("A request saves"), noted("Carbon even after")),
         _SITE),
        ("money", money, (noted("Making it, more money"), noted("A request saves"), noted("Money even after")), _PRICE),
    ):  # fmt: skip
        columns += [
            Column(f"extra_{field}", titles[0], unit, "interval", UNKNOWN, field=f"{field}.extra", factors=factors,
                   formula=extra),
            Column(f"saved_{field}", titles[1], unit, "interval", UNKNOWN, field=f"{field}.saved_per_request",
                   factors=factors, formula=saved),
            Column(f"requests_{field}", titles[2], "requests", "interval", UNKNOWN, field=f"{field}.requests",
                   factors=factors, formula=even),
        ]  # fmt: skip
    return Table(
        "repaid",
        noted("When making a model is repaid"),
        RepaidRow,
        columns,
        rows,
        [text("Carbon is with embodied carbon, where it is known.")],
        saved_by,
        {f"extra_{field}": extra_by for field in ("energy", "carbon", "money")}
        | {f"requests_{field}": lambda row: extra_by(row).with_all_of(saved_by(row)) for field in
           ("energy", "carbon", "money")},
    )  # fmt: skip


@dataclass(frozen=True)
class PlaceRow:
    """The study at a place: where it ran, or projected."""

    place: str
    year: int | None
    is_projection: str
    found: Elsewhere | FootprintRow
    site_J: PartialInterval | None
    carbon_g: PartialInterval | None
    total_g: PartialInterval | None
    water_L: PartialInterval | None


def projections(account: Account, footprint: Footprint | None) -> Table:
    """One row a place: what the whole study would mean there; the first is its own."""
    rows: list[PlaceRow] = []
    if footprint is not None:
        grid = footprint.site.grid_carbon
        here: list[tuple[str, int | None, str, Elsewhere | FootprintRow]] = [
            (footprint.site.place, grid.year if grid else None, text("the site of this page"), footprint.total)
        ]
        there = [(one.place, one.year, text("projection"), one) for one in footprint.elsewhere]
        rows = [
            PlaceRow(place, year, how, one, one.site_J, one.carbon_g, one.total_g, one.water_L)
            for place, year, how, one in (*here, *there)
        ]
    ledgers = Ledgers(account)
    return Table(
        "projections",
        noted("Projection: the same run at other places, not measured there"),
        PlaceRow,
        [
            Column("place", "Place"),
            Column("year", "Year of the grid factor", None, "number", UNKNOWN),
            Column("is_projection", "Is"),
            Column("site_J", "Energy of the site", "J", "interval", UNKNOWN, factors=("site.pue", *MEASURED),
                   formula=noted("energy of the IT equipment × PUE")),
            Column("carbon_g", "Carbon, location-based", "g CO₂e", "interval", UNKNOWN, factors=("site.pue", *MEASURED),
                   formula=noted("energy of the site / 3.6 MJ/kWh × carbon of that place's grid")),
            Column("total_g", "Carbon with embodied", "g CO₂e", "interval", UNKNOWN,
                   factors=("site.pue", "equipment", *MEASURED),
                   formula=noted("carbon + embodied carbon of all that was reserved")),
            Column("water_L", "Water", "L", "interval", UNKNOWN, factors=("site.wue", "site.pue", *MEASURED),
                   formula=noted("energy of the IT equipment / 3.6 MJ/kWh × (WUE + PUE × water of that place's grid)")),
        ],
        rows if len(rows) > 1 else [],
        [
            text("Only the factors of the grid change; price, PUE and the hours of a series do not."),
            text("More places: `greenllm footprint RESULTS --elsewhere FRA`, or site.elsewhere of the configuration."),
        ],
        lambda row: ledgers.all(FOOTPRINT_FILES),
    )  # fmt: skip
