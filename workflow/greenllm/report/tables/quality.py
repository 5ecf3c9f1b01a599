"""Quality: on the whole test split, on its kinds of example, and of the answers that are not handed over."""

from collections.abc import Iterator, Mapping
from typing import Any

from greenllm.report.names import metric_name
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, RECIPE, Account, Row, models, only, recipes

_METRIC = Column("metric", "Metric")
_VALUE = Column("value", "Value", "1", "interval")


def _by_metric(values: Mapping[str, Any]) -> Iterator[Row]:
    for metric, value in values.items():
        if isinstance(value, Mapping):
            yield {"metric": metric_name(metric), "value": value}


def quality(account: Account) -> Table:
    """One row a model and metric."""
    rows = []
    for named, model in models(account):
        if (found := model["quality"]) is None:
            continue
        described = account["experiments"][named["experiment"]]["metrics"]
        meanings = {metric_name(metric): text for metric, text in described.items()}
        rows += [
            named
            | row
            | {"examples": found["examples"], "bootstrap": found["bootstrap"], "meaning": meanings.get(row["metric"])}
            for row in _by_metric(found["metrics"])
        ]
    return Table(
        "quality",
        "Quality on the test split",
        [
            *MODEL,
            _METRIC,
            _VALUE,
            Column("examples", "Test examples", None, "number"),
            Column("bootstrap", "Bootstrap samples", None, "number"),
            Column("meaning", "What it is"),
        ],
        rows,
    )


def subsets(account: Account) -> Table:
    """One row a recipe, kind of example and metric."""
    return Table(
        "subsets",
        "Quality on each kind of example",
        [*RECIPE, Column("subset", "Examples"), _METRIC, _VALUE, Column("examples", "How many", None, "number")],
        [
            row | one | {"subset": name.replace("_", " "), "examples": found["examples"]}
            for row, _ in recipes(account)
            for name, found in (row["subsets"] or {}).items()
            for one in _by_metric(found)
        ],
    )


def hand_over(account: Account) -> Table:
    """One row a recipe and metric: what is answered where unsure answers go to a person, and how well."""
    rows = []
    for row, _ in recipes(account):
        if found := row["hand_over"]:
            kept = only(found, "threshold", "coverage", "examples")
            rows += [row | kept | one for one in list(_by_metric(found["metrics"])) or [{}]]  # none, where none is kept
    return Table(
        "hand-over",
        "Where answers below a confidence are handed over to a person",
        [
            *RECIPE,
            Column("threshold", "Threshold", "1", "number"),
            Column("coverage", "Answered by the model", "1", "interval"),
            Column("examples", "Answers kept", None, "number"),
            _METRIC,
            Column("value", "Of those kept", "1", "interval"),
        ],
        rows,
        ["Confidence: the probability that the model gives its answer. What is below the threshold is handed over."],
    )
