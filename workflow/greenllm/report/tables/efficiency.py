"""Energy per unit of work, E = C/R."""

from greenllm.account.document import Account, EfficiencyRow
from greenllm.account.efficiency import UNITS
from greenllm.report.derivation import Ledgers
from greenllm.report.language import noted, text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import UNKNOWN

_WORK = {
    "sample": noted("Work, samples"),
    "token": noted("Work, tokens"),
    "request": noted("Work, requests"),
    "1e8_flops": noted("Work, 10⁸ operations"),
}
_PER = {
    "sample": noted("Per sample"),
    "token": noted("Per token"),
    "request": noted("Per request"),
    "1e8_flops": noted("Per 10⁸ operations"),
}


_MEASURED = ("sensors", "policy")
_FORMULA = noted("E = C / R: energy of the stage / work that it did")


def efficiency(account: Account) -> Table:
    """One row a stage and seed: energy per unit of each kind of work."""
    ledgers = Ledgers(account)
    return Table(
        "efficiency",
        "Energy per unit of work, E = C/R (lower is better)",
        EfficiencyRow,
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe", absent=noted("shared")),
            Column("seed", "Seed", None, "number"),
            Column("stage", "Stage", words=True),
            Column("scope", "Scope", words=True),
            Column(
                "energy_J", "Energy", "J", "interval", UNKNOWN, factors=("sensors", "policy"),
                formula=noted("sum of the energy attributed to the attempt"),
            ),
            *(Column(f"work_{unit.name}", _WORK[unit.name], "1", "number") for unit in UNITS),
            *(
                Column(f"J_per_{one.name}", _PER[one.name], "J", "interval", formula=_FORMULA, factors=_MEASURED)
                for one in UNITS
            ),
            Column("quality", "Energy is", absent=UNKNOWN, words=True),
            Column("method", "Method"),
            Column("unknown", "Not counted, and why", if_known=True),
        ],
        account.efficiency,
        [text("A dash: the stage did no work of that unit. Attempts that failed or were superseded are left out.")],
        lambda row: ledgers.where(
            row.experiment,
            lambda job: (job.rule, job.recipe, job.standing) == (row.stage, row.recipe, "current")
            and row.seed in (job.seed, None),
        ),
    )  # fmt: skip
