"""Quality: on the whole test split, on its kinds of example, and of the answers that are not handed over."""

from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.documents.document import Number
from greenllm.estimate import Interval
from greenllm.report.derivation import Origin
from greenllm.report.language import noted, text
from greenllm.report.names import metric_name
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, RECIPE, ComparedRow, inside, recipes

_METRIC = Column("metric", "Metric")
_VALUE = Column(
    "value", "Value", "1", "interval",
    formula=noted("the metric over the row's test examples; interval: bootstrap over the examples"),
)  # fmt: skip


@dataclass(frozen=True)
class QualityRow:
    """A model's quality by one metric."""

    model: ModelRow
    metric: str
    value: Interval
    meaning: str | None


@dataclass(frozen=True)
class PartRow:
    """A recipe's quality by one metric on some of its answers; without a metric if no answer remains."""

    compared: ComparedRow
    metric: str | None = None
    value: Interval | None = None
    subset: str | None = None
    examples: Interval | Number | None = None


def quality(account: Account) -> Table:
    """One row a model and metric."""
    return Table(
        "quality",
        "Quality on the test split",
        QualityRow,
        [
            *inside("model", *MODEL),
            _METRIC,
            _VALUE,
            *inside(
                "model.quality",
                Column("examples", "Test examples", None, "number"),
                Column("bootstrap", "Bootstrap samples", None, "number"),
            ),
            Column("meaning", "What it is"),
        ],
        [
            QualityRow(model, metric_name(metric), value, account.experiments[model.experiment].metrics.get(metric))
            for model in account.models
            if model.quality
            for metric, value in model.quality.metrics.items()
        ],
        origin=lambda row: Origin(
            [f"evaluations/{row.model.experiment}/{row.model.recipe}/seed-{row.model.seed}.json"]
        ),
    )


def subsets(account: Account) -> Table:
    """One row a recipe, kind of example and metric."""
    return Table(
        "subsets",
        "Quality on each kind of example",
        PartRow,
        [
            *inside("compared", *RECIPE),
            Column("subset", "Examples"),
            _METRIC,
            _VALUE,
            Column("examples", "How many", None, "number"),
        ],
        [
            PartRow(row, metric_name(metric), value, text(name.replace("_", " ")), found.get("examples"))
            for row in recipes(account, ComparedRow)
            for name, found in row.subsets.items()
            for metric, value in found.items()
            if isinstance(value, Interval)
        ],
    )


def hand_over(account: Account) -> Table:
    """One row a recipe and metric: the answers that are not handed over to a person, and their quality."""
    rows = []
    for row in recipes(account, ComparedRow):
        if found := row.hand_over:
            kept = [PartRow(row, metric_name(metric), value) for metric, value in found.metrics.items()]
            rows += kept or [PartRow(row)]
    return Table(
        "hand-over",
        "Where answers below a confidence are handed over to a person",
        PartRow,
        [
            *inside("compared", *RECIPE),
            *inside(
                "compared.hand_over",
                Column("threshold", "Threshold", "1", "number"),
                Column("coverage", "Answered by the model", "1", "interval"),
                Column("examples", "Answers kept", None, "number"),
            ),
            _METRIC,
            Column("value", "Of those kept", "1", "interval"),
        ],
        rows,
        [
            text(
                "Confidence: the probability that the model assigns to its answer. Answers below the threshold are "
                "handed over."
            )
        ],
    )
