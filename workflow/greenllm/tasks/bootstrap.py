"""Percentile bootstrap intervals of a task's metrics (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from greenllm.documents.prediction import Prediction
from greenllm.estimate import Interval
from greenllm.tasks.draws import by_row
from greenllm.tasks.task import Sums, Task

CHUNK = 100  # bootstrap samples whose weights are held in memory at once


def resamples(examples: int, samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each example is drawn, in chunks of shape (bootstrap samples, examples).

    When n of n examples are drawn with replacement, these counts have a multinomial distribution.
    """
    random = np.random.default_rng(seed)
    for start in range(0, samples, CHUNK):
        size = min(CHUNK, samples - start)
        yield random.multinomial(examples, np.full(examples, 1 / examples), size=size).astype(np.float64)


def scores_with_intervals(task: Task, answers: Sequence[Prediction], samples: int, seed: int) -> dict[str, Interval]:
    """Return each metric, its bounds enclosing 95 % of `samples` bootstrap samples.

    Raises ValueError without answers.
    """
    if not answers:
        raise ValueError("no answers; expected at least one")
    sums = by_row(task.sums(answers), answers)
    return {name: Interval(value, *bounds_of(sums[name], samples, seed)) for name, value in task.score(answers).items()}


def bounds_of(metric: Sums, samples: int, seed: int) -> tuple[float, float]:
    """Return the bounds, low and high, that enclose 95 % of `samples` bootstrap samples of a metric.

    A metric is a function of sums over the examples, so a sample's score needs only these sums, weighted by how often
    each example was drawn. A sample without a score (NaN) says nothing.
    """
    rows = len(metric.per_example)
    answers = np.ones(rows) if metric.answers is None else metric.answers
    (examples,), _ = with_imagined([metric], [1])
    answers = np.append(answers, np.ones(len(examples) - rows))
    # A score expects as many answers as there are.
    scores = [
        metric.score((counts @ examples) * (rows / (counts @ answers))[:, None])
        for counts in resamples(len(examples), samples, seed)
    ]
    low, high = np.nanquantile(np.concatenate(scores), [0.025, 0.975])
    return float(low), float(high)


def with_imagined(metrics: Sequence[Sums], right: Sequence[int]) -> tuple[list[NDArray[Any]], float]:
    """Return each metric's examples to draw from, shape (examples, k), and the factor that scales a sample's sums.

    If all metrics have a right and a wrong example, two imagined ones are added: one that has the value `right` for
    each metric, and its opposite. Without them, a test set on which all answers are right, or on which two models
    agree, would have an interval of zero width (after Agresti and Min 2005, Statistics in Medicine 24, 729-740, who
    add half an example to each kind of pair).
    """
    wrong_and_right = [_wrong_and_right(metric) for metric in metrics]
    more = [
        np.vstack([metric.per_example, both[[one, 1 - one]]])
        for metric, both, one in zip(metrics, wrong_and_right, right, strict=True)
        if both is not None
    ]
    if len(more) < len(metrics):
        return [metric.per_example for metric in metrics], 1.0
    return more, len(metrics[0].per_example) / len(more[0])


def _wrong_and_right(metric: Sums) -> NDArray[np.float64] | None:
    """Return the sums of a wrong and of a right example, shape (2, k): 0 and 1 if the examples count from 0 to 1."""
    if metric.wrong_and_right is not None:
        return metric.wrong_and_right
    own, most = metric.per_example, 1.0 if metric.answers is None else metric.answers
    counts = own.shape[1] == 1 and (own >= 0).all() and (own[:, 0] <= most).all()
    return np.array([[0.0], [1.0]]) if counts else None
