"""The recipes side by side: what they give, and what they take."""

from collections.abc import Mapping
from typing import Any

from greenllm.report.names import metric_name
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, Account, only, recipes


def comparison(account: Account) -> Table:
    """One row a recipe: quality, energy, speed and cost to produce."""
    rows = [
        row
        | {"metric": metric_name(experiment["primary"]), "verdict": _verdict(row)}
        | {"quality": only(row["quality"], "value", "low", "high") or None}
        for row, experiment in recipes(account)
    ]
    return Table(
        "comparison",
        "Recipes compared: quality, the server's energy per request and token, speed and cost to produce",
        [
            *RECIPE,
            Column("metric", "Metric"),
            Column("quality", "Quality", "1", "interval", UNKNOWN),
            Column("energy_per_request_J", "Per request", "J", "interval", UNKNOWN),
            Column("energy_per_token_J", "Per token", "J", "interval", UNKNOWN),
            Column("energy_quality", "Energy is", absent=UNKNOWN),
            Column("times_less", "Times less", "×", "interval"),
            Column("verdict", "Verdict"),
            Column("latency_p50_s", "p50", "s", "number", UNKNOWN),
            Column("latency_p95_s", "p95", "s", "number", UNKNOWN),
            Column("requests_per_s", "Rate", "requests/s", "number", UNKNOWN),
            Column("cost_to_produce_J", "To produce", "J", "interval", UNKNOWN),
        ],
        rows,
        [
            "Energy per request and per token is the server's alone, while it answers; times less: the baseline's "
            "energy per request over the recipe's. p50, p95: latency. To produce: energy of the model's whole lineage. "
            "Intervals are 95 %.",
            *_spread_notes(account),
        ],
    )


def _verdict(row: Mapping[str, Any]) -> str:
    return f"unknown: {row['reason']}" if row["verdict"] == "unknown" and row["reason"] else str(row["verdict"])


def _spread_notes(account: Account) -> list[str]:
    """Return what the intervals of energy hold beside the sensors' error."""
    notes = dict.fromkeys(spread["note"] for row, _ in recipes(account) if (spread := row["energy_spread"]))
    return [f"Intervals of energy: {'; '.join(notes)}."] if notes else []
