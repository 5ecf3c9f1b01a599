"""Energy per unit of work, E = C/R."""

from greenllm.account.document import Account, EfficiencyRow
from greenllm.account.efficiency import UNITS
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import UNKNOWN

_UNITS = {  # one, several
    "sample": ("sample", "samples"),
    "token": ("token", "tokens"),
    "request": ("request", "requests"),
    "1e8_flops": ("10⁸ operations", "10⁸ operations"),
}


def efficiency(account: Account) -> Table:
    """One row a stage and seed: energy per unit of each kind of work."""
    return Table(
        "efficiency",
        "Energy per unit of work, E = C/R (lower is better)",
        EfficiencyRow,
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe", absent="shared"),
            Column("seed", "Seed", None, "number"),
            Column("stage", "Stage"),
            Column("scope", "Scope"),
            Column("energy_J", "Energy", "J", "interval", UNKNOWN),
            *(Column(f"work_{unit.name}", f"Work, {_UNITS[unit.name][1]}", "1", "number") for unit in UNITS),
            *(Column(f"J_per_{unit.name}", f"Per {_UNITS[unit.name][0]}", "J", "interval") for unit in UNITS),
            Column("quality", "Energy is", absent=UNKNOWN),
            Column("method", "Method"),
            Column("unknown", "Not counted, and why", if_known=True),
        ],
        account.efficiency,
        ["A dash: the stage did no work of that unit. Attempts that failed or were superseded are left out."],
    )
