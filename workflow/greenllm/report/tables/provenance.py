"""Where the numbers come from: data, ledgers, and which results are missing."""

from dataclasses import dataclass

from greenllm.account.document import Account, JobRow, LedgerFile, Missing, UnusedGpu
from greenllm.documents.card import CardFile, DataCard
from greenllm.report.language import text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, UNKNOWN, inside


@dataclass(frozen=True)
class DataRow:
    """A file of an experiment's data."""

    experiment: str
    task: str
    card: DataCard | None
    described: CardFile | None


def data(account: Account) -> Table:
    """One row a file that an experiment's data come from."""
    no_file: list[CardFile | None] = [None]
    cards = [(name, experiment.task, experiment.card) for name, experiment in account.experiments.items()]
    return Table(
        "data",
        "Data cards",
        DataRow,
        [
            Column("experiment", "Experiment"),
            Column("task", "Task", words=True),
            *inside(
                "card",
                Column("source", "Source", absent=UNKNOWN),
                Column("origin", "Origin", absent=UNKNOWN),
                Column("licence", "Licence", absent=UNKNOWN),
                Column("revision", "Revision"),
            ),
            *inside(
                "described",
                Column("part", "Part", absent=UNKNOWN),
                Column("file", "File", absent=UNKNOWN),
                Column("rows", "Rows", None, "number", UNKNOWN),
                Column("bytes", "Size", "B", "number", UNKNOWN),
            ),
            *inside("card", Column("bad_row_count", "Bad rows", None, "number", UNKNOWN)),
            *inside("described", Column("sha256", "SHA-256")),
        ],
        [DataRow(name, task, card, one) for name, task, card in cards for one in (card.files if card else no_file)],
    )


@dataclass(frozen=True)
class LedgerRow:
    """A ledger, and the attempt that it is of."""

    ledger: LedgerFile
    job: JobRow | None


def ledgers(account: Account) -> Table:
    """One row a ledger that the account is computed from, with its attempt and that attempt's energy."""
    jobs = {job.id: job for job in account.jobs}
    return Table(
        "ledgers",
        "Ledgers that every number is computed from",
        LedgerRow,
        [
            Column("id", "Attempt", field="ledger.id"),
            *inside(
                "job",
                Column("experiment", "Experiment"),
                Column("recipe", "Recipe"),
                Column("seed", "Seed", None, "number"),
                Column("rule", "Rule"),
                Column("standing", "Standing", words=True),
                Column("energy_J", "Energy", "J", "interval", UNKNOWN),
            ),
            *inside(
                "ledger",
                Column("path", "Ledger"),
                Column("bytes", "Bytes", None, "number"),
                Column("sha256", "SHA-256"),
            ),
        ],
        [LedgerRow(ledger, jobs.get(ledger.id)) for ledger in account.ledgers],
    )


def missing(account: Account) -> Table:
    """One row a result that the configuration asks for and that is missing."""
    return Table(
        "missing",
        "Missing results",
        Missing,
        [*MODEL, Column("stage", "Stage", words=True), Column("reason", "Reason")],
        account.missing,
    )


def unused(account: Account) -> Table:
    """One row a GPU that a job held and never used."""
    return Table(
        "unused",
        "GPUs that were leased and never used",
        UnusedGpu,
        [
            *MODEL,
            Column("stage", "Stage", words=True),
            Column("host", "Host"),
            Column("gpu", "GPU"),
            Column("energy_J", "Its energy", "J", "interval", UNKNOWN),
        ],
        [row.model_copy(update={"recipe": row.recipe or text("shared")}) for row in account.unused],
        [
            text(
                "No memory of the GPU was in use while the job held it. The GPU's energy was spent and is counted, but "
                "no ratio uses the energy of such a job. To fix it, install PyTorch for the GPU (README, On a GPU), or "
                "lease fewer GPUs (resources.<stage>.gpu, device: cpu)."
            )
        ],
    )
