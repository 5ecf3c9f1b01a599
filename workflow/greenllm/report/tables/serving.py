"""Served models under load."""

from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow, ServedPoint
from greenllm.report.derivation import Ledgers
from greenllm.report.language import noted, text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, UNKNOWN, inside


@dataclass(frozen=True)
class ServingRow:
    """A model, measured at one concurrency."""

    model: ModelRow
    point: ServedPoint


def serving(account: Account) -> Table:
    """One row a served model and concurrency: what the load measurement found."""
    named = (*MODEL, Column("engine", "Engine", absent=UNKNOWN), Column("precision", "Precision", absent=UNKNOWN))
    point = [
        Column("concurrency", "Concurrency", None, "number"),
        Column("answered", "Answered", None, "number"),
        Column("failed", "Failed", None, "number"),
        Column("rounds", "Rounds", None, "number"),
        Column("duration_s", "Measured for", "s", "number", UNKNOWN),
        Column(
            "energy_J", "Server's energy", "J", "interval", UNKNOWN, factors=("sensors", "policy"),
            formula=noted("energy of the server in its measured rounds"),
        ),
        Column(
            "energy_per_request_J", "Per request", "J", "interval", UNKNOWN, factors=("sensors", "policy"),
            formula=noted("energy of the server in its measured rounds / requests answered in them"),
        ),
        *inside(
            "latency_s",
            Column("p50", "Latency p50", "s", "number", UNKNOWN),
            Column("p95", "Latency p95", "s", "number", UNKNOWN),
            Column("p99", "Latency p99", "s", "number", UNKNOWN),
        ),
        Column("first_p50", "First token p50", "s", "number", UNKNOWN, field="time_to_first_token_s.p50"),
        Column("first_p95", "First token p95", "s", "number", UNKNOWN, field="time_to_first_token_s.p95"),
        *inside(
            "throughput",
            Column("requests_per_s", "Requests", "requests/s", "number", UNKNOWN),
            Column("tokens_per_s", "Tokens", "tokens/s", "number", UNKNOWN),
        ),
    ]  # fmt: skip
    ledgers = Ledgers(account)
    return Table(
        "serving",
        "Served models under load",
        ServingRow,
        [
            *inside("model", *named),
            *inside("point", *point),
            Column("agreement", "Answers as evaluated", "1", "number", UNKNOWN, field="model.serving.agreement.share"),
            *inside("model.serving", Column("reason", "Energy unknown because", if_known=True)),
        ],
        [ServingRow(model, point) for model in account.models if model.serving for point in model.serving.points],
        [text("A row for each concurrency: the number of requests under way at once.")],
        lambda row: ledgers.served(row.model.experiment, [row.model.seed], row.model.recipe),
    )
