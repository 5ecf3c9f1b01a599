"""Where the energy went: by stage, by run, and into each model."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.estimate import Interval, PartialInterval
from greenllm.footprint.rows import ImpactRow, RunSpent
from greenllm.report.derivation import Ledgers, Origin
from greenllm.report.language import noted, text
from greenllm.report.names import moment
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, RECIPE, UNKNOWN

_STAGE = Column("stage", "Stage", words=True)
_ATTEMPTS = Column("attempts", "Attempts", None, "number")
_MEASURED = ("sensors", "policy")
_ENERGY = Column(
    "energy_J", "Energy", "J", "interval", UNKNOWN, factors=_MEASURED,
    formula=noted("sum of energy_J of the attempts"),
)  # fmt: skip
_WASTE = Column(
    "waste_J", "Wasted", "J", "interval", UNKNOWN, factors=_MEASURED,
    formula=noted("sum of energy_J of those attempts that failed, were killed, lost or superseded"),
)  # fmt: skip
_CARBON = noted("energy / 3.6 MJ/kWh × grid carbon")


def impact(account: Account) -> Table:
    """One row a stage, recipe and experiment: joules, kilowatt-hours and grams, with the factor's origin."""
    ledgers = Ledgers(account)
    return Table(
        "impact",
        "Energy and location-based carbon of everything that was run",
        ImpactRow,
        [
            *RECIPE,
            _STAGE,
            _ATTEMPTS,
            _ENERGY,
            _WASTE,
            Column(
                "energy_kWh", "Energy", "kWh", "interval", UNKNOWN, factors=_MEASURED,
                formula=noted("sum of energy_J of the attempts / 3.6 MJ/kWh"),
            ),
            Column(
                "carbon_gCO2e", "Carbon, IT equipment", "g CO₂e", "interval", UNKNOWN,
                formula=_CARBON, factors=("grid", *_MEASURED),
            ),
            Column("pue", "PUE", "1", "number", UNKNOWN),
            Column(
                "carbon_site_gCO2e", "Carbon, with PUE", "g CO₂e", "interval", UNKNOWN,
                formula=noted("energy / 3.6 MJ/kWh × PUE × grid carbon"), factors=("pue", "grid", *_MEASURED),
            ),
            Column("grid_gCO2e_per_kWh", "Grid factor", "g CO₂e/kWh", "number", UNKNOWN, on_page=False),
            Column("grid_low", "Factor, low", "g CO₂e/kWh", "number", UNKNOWN, on_page=False),
            Column("grid_high", "Factor, high", "g CO₂e/kWh", "number", UNKNOWN, on_page=False),
            Column("grid_place", "Place", absent=UNKNOWN, on_page=False),
            Column("grid_year", "Year", None, "number", UNKNOWN, on_page=False),
            Column("grid_outdated", "Outdated", absent=UNKNOWN, on_page=False),
            Column("grid_source", "Source", absent=UNKNOWN, on_page=False),
            Column("grid_licence", "Licence", absent=UNKNOWN, on_page=False),
        ],
        account.impact,
        [
            text("Every attempt is counted once. Wasted: by attempts that failed, were killed, lost or superseded. ")
            + (
                text("The site's PUE is {pue}.", pue=account.pue)
                if account.pue
                else text("No PUE is given: only the IT equipment is counted.")
            ),
            *([account.grid_reason] if account.grid_reason else []),
        ],
        lambda row: attempts_of(ledgers, row),
    )  # fmt: skip


def attempts_of(ledgers: Ledgers, row: ImpactRow, others: Sequence[str] = ()) -> Origin:
    """Return the attempts that a stage, recipe or experiment consists of; `others` are other files that it is from."""
    return ledgers.where(
        None if row.experiment == "none" else row.experiment,
        lambda job: row.recipe in (job.recipe or "shared", "all") and row.stage in (job.rule, "all"),
        others,
        text(
            "attempts of experiment {experiment}, recipe {recipe}, rule {rule}",
            experiment=row.experiment, recipe=row.recipe, rule=row.stage,
        ),
    )  # fmt: skip


def spent(account: Account) -> Table:
    """One row a run of the workflow."""
    ledgers = Ledgers(account)
    return Table(
        "spent",
        "Spent in each run of the workflow",
        RunSpent,
        [
            Column("run_id", "Run"),
            Column("hosts", "Hosts"),
            Column("started", "Started (UTC)"),
            Column("ended", "Ended (UTC)"),
            _ATTEMPTS,
            Column("unknown", "Attempts of unknown energy", None, "number", on_page=False),
            _ENERGY,
            _WASTE,
            Column("carbon_g", "Carbon", "g CO₂e", "interval", UNKNOWN, formula=_CARBON, factors=("grid", *_MEASURED)),
        ],
        [
            run.model_copy(update={"started": moment(run.started), "ended": moment(run.ended)})
            for run in account.spent.runs
        ],
        origin=lambda row: ledgers.where("all", lambda job: job.run_id == row.run_id, chosen=row.run_id),
    )


@dataclass(frozen=True)
class ProducedRow:
    """A step in a model's making, or their total."""

    experiment: str
    recipe: str
    seed: int
    step: str
    of: str | None
    attempts: int
    energy_J: Interval | None
    carbon_g: PartialInterval | None = None
    missing: str | None = None
    device: str | None = None
    ids: Sequence[str] = ()


def produced(account: Account) -> Table:
    """One row a step in a model's making."""
    rows, ledgers = [], Ledgers(account)
    for model in account.models:
        named, cost = (model.experiment, model.recipe, model.seed), model.cost_to_produce
        for step in cost.steps:
            of = step.recipe or text("shared")
            rows.append(
                ProducedRow(*named, step.rule, of, len(step.ids), step.energy_J, device=step.device, ids=step.ids)
            )
        attempts, missing = sum(len(step.ids) for step in cost.steps), "; ".join(cost.missing)
        total = noted("total, at least") if cost.missing else noted("total")
        ids = [one for step in cost.steps for one in step.ids]
        rows.append(ProducedRow(*named, total, None, attempts, cost.energy_J, cost.carbon_g, missing, ids=ids))
    return Table(
        "produced",
        "Cost to produce each model: its step and those of its ancestors, each once",
        ProducedRow,
        [
            *MODEL,
            Column("step", "Step", words=True),
            Column("of", "Of recipe"),
            _ATTEMPTS,
            _ENERGY,
            Column("carbon_g", "Carbon", "g CO₂e", "interval", formula=_CARBON, factors=("grid", *_MEASURED)),
            Column("missing", "Not counted, and why", if_known=True),
            Column("device", "Device that a plan chose", if_known=True),
        ],
        rows,
        [text("A training resumed from a checkpoint includes the interrupted attempts before it.")],
        lambda row: ledgers.of(row.ids),
    )
