"""What a model takes to keep and to run."""

from greenllm.report.table import Column, Table
from greenllm.report.tables.serving import points
from greenllm.report.tables.shared import RECIPE, UNKNOWN, Account, models, recipes


def sizes(account: Account) -> Table:
    """One row a recipe: parameters, bytes on disk and in memory, operations and time per token, idle power."""
    times = _times_per_token(account)
    rows = [row | {"time_per_token_s": times.get((row["experiment"], row["recipe"]))} for row, _ in recipes(account)]
    return Table(
        "sizes",
        "Sizes: what each model takes to keep and to run",
        [
            *RECIPE,
            Column("parameters", "Parameters", "1", "number", UNKNOWN),
            Column("model_bytes", "On disk", "B", "number", UNKNOWN),
            Column("memory_bytes", "Server's memory", "B", "number", UNKNOWN),
            Column("flops_per_token", "Operations per token", "FLOP", "number", UNKNOWN),
            Column("time_per_token_s", "Time per token", "s", "number", UNKNOWN),
            Column("idle_power_W", "Server, idle", "W", "interval", UNKNOWN),
            Column("accelerator_Wh_per_1000_requests", "Accelerators, 1000 requests", "Wh", "interval", if_known=True),
            Column("memory_reason", "Memory unknown because", if_known=True),
        ],
        rows,
        [
            "Server's memory: resident, after warm-up. Time per token: of a request under load, its prompt included. "
            "Server, idle: its power while it waits."
        ],
    )


def _times_per_token(account: Account) -> dict[tuple[str, str], float]:
    """Return the mean over seeds of the seconds per token of a request, by experiment and recipe.

    With c requests under way at once, each receives a c-th of the tokens per second. Where requests arrive at a set
    rate, tokens per second tell of the rate instead, so those are left out.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for named, model in models(account):
        for point in points(model)[:1]:  # the concurrency that is compared
            rate = (point["throughput"] or {}).get("tokens_per_s")
            if rate and not point["rate_per_s"]:
                found.setdefault((named["experiment"], named["recipe"]), []).append(point["concurrency"] / rate)
    return {key: sum(times) / len(times) for key, times in found.items()}
