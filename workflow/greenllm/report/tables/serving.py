"""Served models under load."""

from collections.abc import Mapping
from typing import Any

from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, UNKNOWN, Account, models, only


def serving(account: Account) -> Table:
    """One row a served model and concurrency: what the load measurement found."""
    rows = []
    for named, model in models(account):
        found = model["serving"] or {}
        for point in points(model):
            latency, first = point["latency_s"] or {}, point["time_to_first_token_s"] or {}
            rows.append(
                {**named, "engine": model["engine"], "precision": model["precision"]}
                | {"reason": found["reason"], "agreement": (found["agreement"] or {}).get("share")}
                | only(point, "answered", "failed", "concurrency", "rounds", "duration_s", "stopped")
                | only(point, "energy_J", "energy_per_request_J")
                | only(latency, "p50", "p95", "p99")
                | {"first_p50": first.get("p50"), "first_p95": first.get("p95")}
                | only(point["throughput"], "requests_per_s", "tokens_per_s")
            )
    return Table(
        "serving",
        "Served models under load",
        [
            *MODEL,
            Column("engine", "Engine", absent=UNKNOWN),
            Column("precision", "Precision", absent=UNKNOWN),
            Column("concurrency", "Concurrency", None, "number"),
            Column("answered", "Answered", None, "number"),
            Column("failed", "Failed", None, "number"),
            Column("rounds", "Rounds", None, "number"),
            Column("duration_s", "Measured for", "s", "number", UNKNOWN),
            Column("energy_J", "Server's energy", "J", "interval", UNKNOWN),
            Column("energy_per_request_J", "Per request", "J", "interval", UNKNOWN),
            Column("p50", "Latency p50", "s", "number", UNKNOWN),
            Column("p95", "Latency p95", "s", "number", UNKNOWN),
            Column("p99", "Latency p99", "s", "number", UNKNOWN),
            Column("first_p50", "First token p50", "s", "number", UNKNOWN),
            Column("first_p95", "First token p95", "s", "number", UNKNOWN),
            Column("requests_per_s", "Requests", "requests/s", "number", UNKNOWN),
            Column("tokens_per_s", "Tokens", "tokens/s", "number", UNKNOWN),
            Column("agreement", "Answers as evaluated", "1", "number", UNKNOWN),
            Column("stopped", "Stopped by"),
            Column("reason", "Energy unknown because", if_known=True),
        ],
        rows,
        [
            "A row for each concurrency, the requests under way at once. Stopped by: narrow, energy per request is "
            "known as closely as asked; limit, the longest measurement that was allowed."
        ],
    )


def points(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what was measured at each concurrency: first the one that is compared; empty where nothing was."""
    return list(model["serving"]["points"]) if model["serving"] else []
