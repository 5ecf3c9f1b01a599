"""Percentile bootstrap intervals of a task's metrics (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3)."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from greenllm.tasks.task import Answer, Task

CHUNK = 100  # bootstrap samples whose weights are held in memory at once


def resamples(examples: int, samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each example is drawn, in chunks of shape (bootstrap samples, examples).

    Drawing n of n examples with replacement gives each a multinomial count.
    """
    random = np.random.default_rng(seed)
    for start in range(0, samples, CHUNK):
        size = min(CHUNK, samples - start)
        yield random.multinomial(examples, np.full(examples, 1 / examples), size=size).astype(np.float64)


def scores_with_intervals(
    task: Task, answers: Sequence[Answer], samples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return `{metric: {value, low, high}}`, low and high bounding 95 % of `samples` bootstrap samples.

    With each metric a function of sums over the answers, a sample's score needs only the sums weighted by how often
    each answer was drawn. The same samples serve all metrics. Raises ValueError where there are no answers.
    """
    if not answers:
        raise ValueError("no answers; expected at least one")
    sums = task.sums(answers)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in sums}
    for counts in resamples(len(answers), samples, seed):
        for name, metric in sums.items():
            scores[name].append(metric.score(counts @ metric.per_example))
    values = task.score(answers)
    intervals = {name: np.quantile(np.concatenate(parts), [0.025, 0.975]) for name, parts in scores.items()}
    return {
        name: {"value": value, "low": float(intervals[name][0]), "high": float(intervals[name][1])}
        for name, value in values.items()
    }
