"""What decides which recipe to deploy."""

from collections.abc import Mapping
from typing import Any

from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, Account, only, recipes


def recommendation(account: Account) -> Table:
    """One row a recipe: is it good enough, what does it take in all, when has its making paid for itself."""
    rows = []
    for row, experiment in recipes(account):
        advice = experiment["recommendation"]
        rows.append(
            row
            | {"decision": _decision(row["recipe"], advice), "requests": advice["requests"]}
            | {"needed": advice["quality_bound"], "confidence": advice["confidence"]}
            | only(row["quality_difference"], "p_value")
            | {"quality_difference": only(row["quality_difference"], "value", "low", "high") or None}
        )
    return Table(
        "recommendation",
        "What to deploy: the least energy in all, among recipes that are good enough",
        [
            *RECIPE,
            Column("decision", "Decision"),
            Column("qualifies", "Good enough", absent=UNKNOWN),
            Column("needed", "Quality needed", "1", "number"),
            Column("quality_difference", "Quality against baseline", "1", "interval"),
            Column("p_value", "p of the difference", "1", "number"),
            Column("on_front", "On the front", absent=UNKNOWN),
            Column("total_energy_per_request_J", "In all, per request", "J", "interval", UNKNOWN),
            Column("requests", "Requests expected", "requests", "number", on_page=False),
            Column("confidence", "Confidence", "1", "number", on_page=False),
            Column("break_even_requests", "Paid back after", "requests", "interval"),
        ],
        rows,
        [
            "Good enough: the quality needed is reached, as sure as asked. p: of a paired test on the same examples. "
            "On the front: no other recipe is both better and more frugal. In all: energy per request, and that of "
            "making the model, spread over the requests expected. Paid back after: requests after which the extra "
            "energy of making it has been saved; never where it saves none."
        ],
    )


def _decision(recipe: str, advice: Mapping[str, Any]) -> str | None:
    if recipe == advice["recipe"]:
        return "recommended"
    return "loss" if recipe in advice["losses"] else None
