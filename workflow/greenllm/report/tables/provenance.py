"""What the numbers rest on: data, ledgers, and what is not there."""

from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, UNKNOWN, Account, only


def data(account: Account) -> Table:
    """One row a file that an experiment's data come from."""
    rows = []
    for name, experiment in account["experiments"].items():
        card = experiment["card"] or {}
        shared = {"experiment": name, "task": experiment["task"]}
        shared |= only(card, "origin", "source", "licence", "revision", "bad_row_count")
        rows += [shared | only(file, "part", "file", "rows", "bytes", "sha256") for file in card.get("files") or [{}]]
    return Table(
        "data",
        "Data cards",
        [
            Column("experiment", "Experiment"),
            Column("task", "Task"),
            Column("source", "Source", absent=UNKNOWN),
            Column("origin", "Origin", absent=UNKNOWN),
            Column("licence", "Licence", absent=UNKNOWN),
            Column("revision", "Revision"),
            Column("part", "Part", absent=UNKNOWN),
            Column("file", "File", absent=UNKNOWN),
            Column("rows", "Rows", None, "number", UNKNOWN),
            Column("bytes", "Size", "B", "number", UNKNOWN),
            Column("bad_row_count", "Bad rows", None, "number", UNKNOWN),
            Column("sha256", "SHA-256"),
        ],
        rows,
    )


def ledgers(account: Account) -> Table:
    """One row a ledger that the account rests on."""
    return Table(
        "ledgers",
        "Ledgers that every number rests on",
        [
            Column("id", "Attempt"),
            Column("path", "Ledger"),
            Column("bytes", "Bytes", None, "number"),
            Column("sha256", "SHA-256"),
        ],
        account["ledgers"],
    )


def missing(account: Account) -> Table:
    """One row a result that the configuration asks for and that is not there."""
    return Table(
        "missing",
        "Asked for and not there",
        [*MODEL, Column("stage", "Stage"), Column("reason", "Reason")],
        account["missing"],
    )


def unused(account: Account) -> Table:
    """One row a GPU that a job held and never used."""
    return Table(
        "unused",
        "GPUs that were leased and never used",
        [
            *MODEL,
            Column("stage", "Stage"),
            Column("host", "Host"),
            Column("gpu", "GPU"),
            Column("energy_J", "It drew", "J", "interval", UNKNOWN),
        ],
        [{**row, "recipe": row["recipe"] or "shared"} for row in account.get("unused", [])],
        [
            "Nothing was seen in the GPU's memory while the job held it. Its energy was spent and is counted, but no "
            "ratio rests on the energy of such a job. Mend it: PyTorch's build (README, On a GPU), or lease fewer "
            "(resources.<stage>.gpu, device: cpu)."
        ],
    )
