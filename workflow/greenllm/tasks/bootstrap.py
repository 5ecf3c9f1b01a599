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
    each example was drawn.
    """
    (examples,), share = with_imagined([metric.per_example], [1])
    scores = [metric.score(share * (counts @ examples)) for counts in resamples(len(examples), samples, seed)]
    low, high = np.quantile(np.concatenate(scores), [0.025, 0.975])
    return float(low), float(high)


def with_imagined(examples: Sequence[NDArray[Any]], right: Sequence[int]) -> tuple[list[NDArray[Any]], float]:
    """Return each metric's examples to draw from, shape (examples, k), and the factor that scales a sample's sums.

    If each example counts from 0 (wrong) to 1 (right), two imagined ones are added: one that has the value `right` for
    each metric, and its opposite. Without them, a test set on which all answers are right, or on which two models
    agree, would have an interval of zero width (after Agresti and Min 2005, Statistics in Medicine 24, 729-740, who
    add half an example to each kind of pair).
    """
    if not all(own.shape[1] == 1 and (own >= 0).all() and (own <= 1).all() for own in examples):
        return list(examples), 1.0
    more = [np.vstack([own, [[one], [1 - one]]]) for own, one in zip(examples, right, strict=True)]
    return more, len(examples[0]) / len(more[0])
