"""What the study and its requests mean at the site: by scope, for each functional unit, and what is uncertain most."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint, Score
from greenllm.account.scores import SERVING
from greenllm.estimate import PartialInterval
from greenllm.footprint.carbon import carbon_g
from greenllm.report.derivation import FOOTPRINT_FILES, MEASURED, Ledgers, Origin
from greenllm.report.language import noted, text
from greenllm.report.numbers import prefix_for
from greenllm.report.site_words import why_unknown
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import NO_FOOTPRINT, UNKNOWN, currency_of

MOST_WIDENING = 3  # constants that are listed of each quantity
_QUANTITIES = {
    "it_J": noted("energy"),
    "carbon_it_g": noted("carbon of the IT equipment"),
    "carbon_g": noted("carbon"),
    "embodied_g": noted("embodied carbon"),
    "total_g": noted("carbon with embodied"),
    "water_L": noted("water"),
    "cost": noted("money"),
}


@dataclass(frozen=True, kw_only=True)
class ScopeRow:
    """A scope of the study, each wider than the one before: what is counted, and what it means; None is unknown.

    `known` are the keys of the columns that the scope has; the others are blank.
    """

    counted: str
    known: Sequence[str] = ()
    energy_J: PartialInterval | None = None
    carbon_g: PartialInterval | None = None
    market_g: PartialInterval | None = None
    marginal_g: PartialInterval | None = None
    water_L: PartialInterval | None = None
    cost: PartialInterval | None = None
    why: str = ""


def _scopes(account: Account, footprint: Footprint) -> list[ScopeRow]:
    total, site = footprint.total, footprint.site
    embodied = "" if total.embodied_g else "; ".join(dict.fromkeys(total.unknown)) or text("embodied carbon is unknown")
    accelerators = any(part.component == "gpu" for job in account.jobs for part in job.components)
    return [
        ScopeRow(
            counted=text("Accelerators"),
            known=("energy_J",) if accelerators else (),
            energy_J=total.accelerator_J,
            why="" if accelerators else text("no accelerator was metered"),
        ),
        ScopeRow(counted=text("Hosts: all that the study's jobs used"), known=("energy_J",), energy_J=total.host_J),
        ScopeRow(
            counted=text("with the idle time that no job had reserved"),
            known=("energy_J", "carbon_g"),
            energy_J=total.it_J,
            carbon_g=total.carbon_it_g,
            why=why_unknown(site, "grid_carbon"),
        ),
        ScopeRow(
            counted=text("with the site's cooling and distribution (PUE)"),
            known=("energy_J", "carbon_g", "market_g", "water_L", "cost"),
            energy_J=total.site_J,
            carbon_g=total.carbon_g,
            market_g=total.market_carbon_g,
            marginal_g=total.marginal_carbon_g,
            water_L=total.water_L,
            cost=total.cost,
            why=why_unknown(site, "grid_carbon", "pue", "market_carbon", "wue", "grid_water", "price"),
        ),
        ScopeRow(
            counted=text("with the making of the equipment (embodied)"),
            known=("carbon_g",),
            carbon_g=total.total_g,
            why="; ".join(filter(None, (why_unknown(site, "grid_carbon", "pue"), embodied))),
        ),
    ]


def _scopes_of_account(account: Account) -> list[ScopeRow]:
    total = account.spent.total
    energy = None if total.energy_J is None else PartialInterval(*total.energy_J)
    return [
        ScopeRow(
            counted=text("Hosts: all that the study's jobs used"),
            known=("energy_J", "carbon_g", "market_g", "water_L", "cost"),
            energy_J=energy,
            carbon_g=carbon_g(total.energy_J, account.grid),
            why=text(NO_FOOTPRINT),
        )
    ]


def scopes(account: Account, footprint: Footprint | None) -> Table:
    """One row a scope of the whole study: energy, carbon, water, money; without a footprint, the account's energy."""
    ledgers = Ledgers(account)
    site = ("site.grid_carbon", "site.pue")
    return Table(
        "scopes",
        noted("The whole study by scope, each wider than the one before"),
        ScopeRow,
        [
            Column("counted", "Counted"),
            Column(
                "energy_J", "Energy", "J", "interval", UNKNOWN, factors=("site.pue", *MEASURED),
                formula=noted(
                    "energy of all attempts: of their GPUs, then of all components; + idle energy of the hosts; × PUE"
                ),
            ),
            Column(
                "carbon_g", "Carbon, location-based", "g CO₂e", "interval", UNKNOWN,
                factors=(*site, "equipment", *MEASURED),
                formula=noted(
                    "energy of the same row / 3.6 MJ/kWh × carbon of the grid (of each job's hours where a series is "
                    "given); in the last row + embodied carbon: embodied carbon / life × time reserved × share reserved"
                ),
            ),
            Column(
                "market_g", "Carbon, by contract", "g CO₂e", "interval", UNKNOWN,
                factors=("site.market_carbon", "site.pue", *MEASURED),
                formula=noted("energy of the same row / 3.6 MJ/kWh × carbon by contract"),
            ),
            Column(
                "marginal_g", "Carbon, marginal", "g CO₂e", "interval", if_known=True,
                factors=("site.grid_carbon_marginal", "site.pue", *MEASURED),
                formula=noted("energy of the same row / 3.6 MJ/kWh × marginal carbon of the grid"),
            ),
            Column(
                "water_L", "Water", "L", "interval", UNKNOWN,
                factors=("site.wue", "site.grid_water", "site.pue", *MEASURED),
                formula=noted(
                    "energy of the IT equipment (with idle) / 3.6 MJ/kWh × (WUE + PUE × water of the grid)"
                ),
            ),
            Column(
                "cost", "Money", currency_of(footprint), "interval", UNKNOWN,
                factors=("site.price", "site.pue", *MEASURED),
                formula=noted("energy of the same row / 3.6 MJ/kWh × price"),
            ),
            Column("why", "Unknown because", absent="", if_known=True),
        ],
        _scopes_of_account(account) if footprint is None else _scopes(account, footprint),
        [],
        lambda row: ledgers.all(FOOTPRINT_FILES if footprint else ("account/account.json",)),
        blank=lambda row, key: key in ("energy_J", "carbon_g", "market_g", "water_L", "cost") and key not in row.known,
    )  # fmt: skip


@dataclass(frozen=True)
class ScoreRow:
    """A score of SCI for AI."""

    score: Score
    shown: str
    lacks: str


def scores(account: Account, footprint: Footprint | None) -> Table:
    """One row a recipe, score and functional unit: grams of SCI, or why it is not called so."""
    names = {"consumer": text("consumer"), "provider": text("provider")}
    rows = [ScoreRow(one, names[one.score], "; ".join(one.lacks)) for one in (footprint.scores if footprint else [])]
    ledgers = Ledgers(account)
    entering = ("site.grid_carbon", "site.pue", "equipment", *MEASURED)
    return Table(
        "scores",
        noted("Grams for each functional unit: SCI (ISO/IEC 21031) and SCI for AI"),
        ScoreRow,
        [
            Column("experiment", "Experiment", field="score.experiment"),
            Column("recipe", "Recipe", field="score.recipe"),
            Column("score", "Score", field="shown"),
            Column("unit", "For each", field="score.unit", words=True),
            Column(
                "value_g", "SCI", "g CO₂e", "interval", UNKNOWN, field="score.value_g", own_unit=True,
                formula=noted("(operations + embodied) / functional units"), factors=entering,
            ),
            Column(
                "operational_g", "Operations", "g CO₂e", "interval", UNKNOWN, field="score.operational_g",
                like="score.value_g",
                formula=noted("energy with idle / 3.6 MJ/kWh × PUE × carbon of the grid / functional units"),
                factors=entering, own_unit=True,
            ),
            Column(
                "embodied_g", "Embodied", "g CO₂e", "interval", UNKNOWN, field="score.embodied_g", like="score.value_g",
                own_unit=True,
                formula=noted(
                    "sum over the equipment: embodied carbon / life × time reserved × share reserved / functional units"
                ),
                factors=("equipment",),
            ),
            Column(
                "units", "Units counted", "1", "number", field="score.units", on_page=False,
            ),
            Column("boundary", "Boundary", field="score.boundary", on_page=False),
            Column("lacks", "Not called SCI because", absent="", if_known=True),
        ],
        rows,
        [
            text(
                "Boundaries. Consumer: operation, the server while it answers, without its idle time. Provider: design "
                "and development, all attempts at the stages that made the model, wasted ones included."
            )
        ],
        lambda row: _score_origin(ledgers, row.score),
    )  # fmt: skip


def _score_origin(ledgers: Ledgers, score: Score) -> Origin:
    if score.score == "consumer":
        return ledgers.requests(score.experiment, score.recipe)
    chain = ledgers.chain(score.experiment, score.recipe)
    return ledgers.where(
        score.experiment,
        lambda job: (job.recipe is None or job.recipe in chain) and job.rule not in SERVING,
        FOOTPRINT_FILES,
        text("attempts of experiment {experiment}: shared, of {recipe}, and of the models that it is made from",
             experiment=score.experiment, recipe=score.recipe),
    )  # fmt: skip


def main_scores(account: Account, whole: Table) -> list[int]:
    """Return which rows of the table of scores are about what to deploy: of each score the first functional unit."""
    found: dict[tuple[str, str], int] = {}
    for index, row in enumerate(whole.rows):
        if isinstance(row, ScoreRow):
            experiment = account.experiments[row.score.experiment]
            if row.score.recipe == (experiment.recommendation.recipe or experiment.comparison.baseline):
                found.setdefault((row.score.experiment, row.score.score), index)
    return list(found.values())


@dataclass(frozen=True)
class IndicatorRow:
    """An indicator of the site or of its heat, with its unit, and why it is unknown."""

    name: str
    value: PartialInterval | None
    why: str


def indicators(_: Account, footprint: Footprint | None) -> Table:
    """One row an indicator of the site: PUE, WUE, CUE, REF, and the reuse of its heat."""
    rows = []
    if footprint is not None:
        site, found, total = footprint.site, footprint.indicators, footprint.total
        reused, displaced = total.heat_reused_kWh, total.heat_displaced_g
        rows = [
            IndicatorRow("PUE", found.pue, why_unknown(site, "pue")),
            IndicatorRow("WUE (L/kWh)", found.wue, why_unknown(site, "wue")),
            IndicatorRow("CUE (kg CO₂e/kWh)", found.cue, why_unknown(site, "grid_carbon", "pue")),
            IndicatorRow("REF", found.ref, why_unknown(site, "renewable")),
            IndicatorRow("ERF", found.erf, why_unknown(site, "erf")),
            IndicatorRow("ERE", found.ere, why_unknown(site, "erf", "pue")),
            _prefixed(noted("Heat reused ({unit})"), reused, "kWh", why_unknown(site, "erf", "pue")),
            _prefixed(
                noted("Heating displaced ({unit})"),
                displaced,
                "g CO₂e",
                why_unknown(site, "erf", "pue", "heat_carbon"),
            ),
        ]
    return Table(
        "indicators",
        noted("The site's indicators, and the reuse of its heat"),
        IndicatorRow,
        [
            Column("name", "Indicator"),
            Column(
                "value", "Value", "1", "interval", UNKNOWN,
                formula=noted(
                    "PUE: energy of the site / of its IT equipment; WUE: water on site / energy of the IT equipment; "
                    "CUE: carbon of the site / energy of the IT equipment; REF: renewable energy / energy of the site; "
                    "ERF: energy reused / energy of the site; ERE: (1 − ERF) × PUE; heat reused: ERF × energy of the "
                    "site; heating displaced: heat reused × carbon of that heating"
                ),
                factors=("site.pue", "site.wue", "site.grid_carbon", "site.renewable", "site.erf", "site.heat_carbon"),
            ),
            Column("why", "Unknown because", absent="", if_known=True),
        ],
        rows,
        origin=lambda row: Origin(FOOTPRINT_FILES),
    )  # fmt: skip


def _prefixed(name: str, value: PartialInterval | None, unit: str, why: str) -> IndicatorRow:
    """Return the row of a quantity in a prefixed unit, which its name has."""
    scale, prefixed = prefix_for([value], unit)
    shown = value and PartialInterval(
        value.value / scale,
        None if value.low is None else value.low / scale,
        None if value.high is None else value.high / scale,
    )
    return IndicatorRow(text(name, unit=prefixed), shown, why)


@dataclass(frozen=True)
class WideningRow:
    """A constant that widens an interval: of which quantity, and its share of the variance of its logarithm."""

    of: str
    quantity: str
    constant: str
    share: float


def widening(_: Account, footprint: Footprint | None) -> Table:
    """One row a quantity and constant: the constants that widen its interval most, three of each."""
    rows: list[WideningRow] = []
    counts: dict[tuple[str | None, str], int] = {}
    for one in footprint.widening if footprint else []:
        key = one.experiment, one.quantity
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= MOST_WIDENING:
            of = text("the study") if one.experiment is None else text("a request, {name}", name=one.experiment)
            rows.append(WideningRow(of, text(_QUANTITIES[one.quantity]), text(one.constant), one.share))
    return Table(
        "widening",
        noted("What widens each interval most"),
        WideningRow,
        [
            Column("of", "Of"),
            Column("quantity", "Quantity"),
            Column("constant", "Constant"),
            Column(
                "share", "Share of the variance", "1", "number",
                formula=noted("squared correlation of the constant's draws with the logarithm of the quantity's draws"),
            ),
        ],
        rows,
        [
            text(
                "If a constant of share s were known, a lognormal quantity's interval would be √(1 − s) times as wide, "
                "in logarithms."
            )
        ],
        lambda row: Origin(FOOTPRINT_FILES),
    )  # fmt: skip
