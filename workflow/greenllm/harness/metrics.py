"""The metrics of one document of a harness task: which are numbers, and which one recipes are compared by."""

import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any

from greenllm.errors import UserError, listed
from greenllm.harness.decoding import decoding_of

# A metric of texts whose value for one document is a pair, log p (nats) and bytes.
BITS_PER_BYTE = "bits_per_byte"
# What a model could return to a request of each type.
RESULTS: Mapping[str, Any] = {
    "loglikelihood": (-1.0, False),
    "loglikelihood_rolling": -1.0,
    "generate_until": "",
}


def check_tasks(tasks: Mapping[str, Any], wanted: str | None) -> None:
    """Raise UserError if the engines can't decode a task's answers, or tasks can't be compared by one metric.

    `wanted` is `data.metric`. What only real answers show is checked when they exist.
    """
    primaries: dict[str, str] = {}
    for name, task in tasks.items():
        if task.OUTPUT_TYPE == "generate_until":
            try:
                decoding_of(task.config.generation_kwargs, None)
            except UserError as error:
                raise UserError(f"data.tasks: {name}: {error}") from None
        if (known := _expected_metrics(name, task)) is not None:
            primaries[name] = primary_metric(name, known, wanted)
    require_one_metric(primaries)


def numbers_of(task: Any, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return one document's metrics that are numbers; others make sense only over all documents."""
    found = {metric: _number(task, metric, value) for metric, value in metrics.items()}
    return {metric: number for metric, number in found.items() if number is not None}


def primary_metric(name: str, known: Collection[str], wanted: str | None) -> str:
    """Return the metric that recipes are compared by: `wanted`, or the first one.

    Raises UserError if the task `name` lacks it.
    """
    if not known:
        raise UserError(f"data.tasks: {name} has no metric with a number for each example; expected another task")
    primary = next(iter(known)) if wanted is None else wanted
    if primary not in known:
        raise UserError(
            f"data.metric: {wanted}: {name} has no such metric with a number for each example; expected one of "
            f"{listed(list(known))}"
        )
    return primary


def require_one_metric(primaries: Mapping[str, str]) -> None:
    """Raise UserError if tasks (name → primary metric) would be averaged over different metrics."""
    first: dict[str, str] = {}
    for name, metric in primaries.items():
        first.setdefault(metric, name)
    if len(first) > 1:
        shown = ", ".join(f"{metric} of {name}" for metric, name in first.items())
        raise UserError(
            f"data.metric: the tasks' first metrics differ ({shown}), and their mean means nothing; name one that all "
            "tasks have, or give each kind of task an experiment of its own"
        )


def higher_is_better(task: Any, metric: str) -> bool:
    """Return whether a higher value of one document's metric is better."""
    return metric != BITS_PER_BYTE and bool(task.higher_is_better().get(metric.partition(",")[0], True))


def named(metric: str, filter_name: str) -> str:
    """Return a metric's name; one of a filter of answers is named after it, as `exact_match,flexible`."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def _expected_metrics(name: str, task: Any) -> list[str] | None:
    """Return the metrics that the first document will have as numbers; None if only a real answer shows them."""
    try:
        # Without solved examples: to choose some would change which ones the next documents get.
        _, document = next(iter(task.doc_iterator(limit=1)))
        made = task.construct_requests(document, "", metadata=(name, 0, 1))
        requests = made if isinstance(made, list) else [made]
        values = task.process_results(document, [RESULTS[request.request_type] for request in requests])
    except Exception:  # a task's file is foreign code, which may not take such an answer
        return None
    filters = [one["name"] for one in task.config.filter_list or [{"name": "none"}]]
    return [named(metric, filter_name) for filter_name in filters for metric in numbers_of(task, values)]


def _number(task: Any, metric: str, value: Any) -> float | None:
    """Return a metric of one document as a number; None if only a value over all documents makes sense."""
    from lm_eval.api.registry import get_aggregation

    if task.aggregation().get(metric.partition(",")[0]) is get_aggregation("perplexity"):
        return None  # the value is log p, and neither a perplexity nor worse when higher
    if isinstance(value, numbers.Real):
        return float(value)
    if metric == BITS_PER_BYTE and isinstance(value, tuple | list) and len(value) == 2:
        return -float(value[0]) / float(value[1]) / math.log(2)
    return None
