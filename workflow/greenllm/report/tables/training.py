"""How each model was trained."""

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.report.language import text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, UNKNOWN, inside


def training(account: Account) -> Table:
    """One row a trained model: its trained parameters, data, processes, and why training ended."""
    facts = (
        Column("parameters", "Parameters", "1", "number", UNKNOWN),
        Column("trainable_parameters", "Trained of them", "1", "number", UNKNOWN),
        Column("peak_memory_bytes", "Peak memory", "B", "number", UNKNOWN),
        Column("steps", "Steps", None, "number"),
        Column("tokens", "Tokens", "1", "number"),
        Column("precision", "Precision"),
        Column("world_size", "Processes", None, "number"),
        Column("wrapper", "Wrapper", if_known=True),
        Column("stop_reason", "Ended early because", if_known=True),
    )
    return Table(
        "training",
        "How each model was trained",
        ModelRow,
        [*MODEL, *inside("training", *facts)],
        [model for model in account.models if model.training],
        [
            text(
                "Peak memory: of the process on the CPU, of the device on a GPU; of several processes, the first one's."
            )
        ],
    )
