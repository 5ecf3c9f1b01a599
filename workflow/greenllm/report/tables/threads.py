"""How the number of threads of each server was chosen."""

from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.documents.measurement import ProbedThreads, ThreadChoice
from greenllm.report.derivation import Ledgers
from greenllm.report.language import text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, ComparedRow, inside, recipes


@dataclass(frozen=True)
class ThreadsRow:
    """What a request took with one number of threads; `probed` is None where none was probed."""

    compared: ComparedRow
    choice: ThreadChoice
    probed: ProbedThreads | None

    @property
    def threads(self) -> int:
        """The number of threads that the row is about."""
        return self.probed.threads if self.probed else self.choice.threads

    @property
    def chosen(self) -> bool:
        """Whether the server was measured with this number."""
        return self.threads == self.choice.threads

    @property
    def reason(self) -> str | None:
        """Why it was chosen."""
        return text(self.choice.reason) if self.chosen else None


def threads(account: Account) -> Table:
    """One row a recipe and number of threads that was probed."""
    rows, ledgers = [], Ledgers(account)
    for row in recipes(account, ComparedRow):
        if row.threads:
            probed = [ThreadsRow(row, row.threads, one) for one in row.threads.probed]
            rows += probed or [ThreadsRow(row, row.threads, None)]
    return Table(
        "threads",
        "Threads of each server: what a request takes with each number that was probed",
        ThreadsRow,
        [
            *inside("compared", *RECIPE),
            Column("threads", "Threads", None, "number"),
            Column("chosen", "Chosen"),
            *inside(
                "probed",
                Column("energy_per_request_J", "Per request", "J", "interval", UNKNOWN),
                Column("cpu_s_per_request", "CPU time", "s", "number"),
                Column("time_per_request_s", "Time", "s", "number"),
                Column("rounds", "Rounds", None, "number"),
            ),
            Column("reason", "Why"),
        ],
        rows,
        [text("Energy, processor time and time are those of one request, in short probes before the measurement.")],
        lambda row: ledgers.where(
            row.compared.experiment, lambda job: job.rule == "probe" and job.recipe == row.compared.recipe
        ),
    )
