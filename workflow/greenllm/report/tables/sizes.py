"""Storage, memory and computation of each model."""

from greenllm.account.document import Account
from greenllm.report.derivation import Ledgers
from greenllm.report.language import noted, text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, ComparedRow, recipes


class SizesRow(ComparedRow):
    """A row of the table."""

    time_per_token_s: float | None = None


def sizes(account: Account) -> Table:
    """One row a recipe: parameters, bytes on disk and in memory, operations and time per token, idle power."""
    times = _times_per_token(account)
    rows = [
        row.model_copy(update={"time_per_token_s": times.get((row.experiment, row.recipe))})
        for row in recipes(account, SizesRow)
    ]
    ledgers = Ledgers(account)
    return Table(
        "sizes",
        "Sizes: storage, memory and computation of each model",
        SizesRow,
        [
            *RECIPE,
            Column("parameters", "Parameters", "1", "number", UNKNOWN),
            Column("model_bytes", "On disk", "B", "number", UNKNOWN),
            Column("memory_bytes", "Server's memory", "B", "number", UNKNOWN),
            Column("flops_per_token", "Operations per token", "FLOP", "number", UNKNOWN),
            Column("time_per_token_s", "Time per token", "s", "number", UNKNOWN),
            Column(
                "idle_power_W",
                "Server, idle",
                "W",
                "interval",
                UNKNOWN,
                factors=("sensors", "policy"),
                formula=noted("energy of the server while it waits / that time"),
            ),
            Column("accelerator_Wh_per_1000_requests", "Accelerators, 1000 requests", "Wh", "interval", if_known=True),
            Column("memory_reason", "Memory unknown because", if_known=True),
        ],
        rows,
        [
            text(
                "Server's memory: resident, after warm-up. Time per token: of a request under load, its prompt "
                "included. Server, idle: its power while it waits for requests."
            )
        ],
        lambda row: ledgers.served(row.experiment, row.seeds_measured, row.recipe),
    )


def _times_per_token(account: Account) -> dict[tuple[str, str], float]:
    """Return the mean over seeds of the seconds per token of a request, by experiment and recipe.

    With c requests under way at once, each receives a c-th of the tokens per second. Where requests arrive at a set
    rate, tokens per second follow from that rate, so those are left out.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for model in account.models:
        point = model.serving  # at the concurrency that is compared
        rate = point and point.throughput and point.throughput.tokens_per_s
        if point and rate and point.concurrency and not point.rate_per_s:
            found.setdefault((model.experiment, model.recipe), []).append(point.concurrency / rate)
    return {key: sum(times) / len(times) for key, times in found.items()}
