"""The causes of each recipe's saving, one by one."""

from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.comparison.rows import Factor
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, ComparedRow, inside, recipes


@dataclass(frozen=True)
class CauseRow:
    """One factor of a recipe's ratio."""

    compared: ComparedRow
    part: Factor


def causes(account: Account) -> Table:
    """One row a recipe and cause: how many times less energy that change takes by itself."""
    return Table(
        "causes",
        "Causes: how many times less energy each change takes by itself",
        CauseRow,
        [
            *inside("compared", *RECIPE),
            *inside(
                "part",
                Column("change", "Change"),
                Column("before", "From"),
                Column("after", "To"),
                Column("times_less", "Times less", "×", "interval", UNKNOWN),
                Column("verdict", "Verdict"),
            ),
        ],
        [CauseRow(row, part) for row in recipes(account, ComparedRow) for part in row.parts],
        [
            "Each factor is the energy per request of one recipe divided by that of another, measured in the same "
            "starts. The product of a recipe's factors is its whole ratio."
        ],
    )
