"""Percentile bootstrap intervals of a task's metrics (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from greenllm.tasks.task import Answer, Sums, Task

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

    Raises ValueError where there are no answers.
    """
    if not answers:
        raise ValueError("no answers; expected at least one")
    bounds = intervals(task.sums(answers), samples, seed)
    return {name: {"value": value, **bounds[name]} for name, value in task.score(answers).items()}


def intervals(sums: Mapping[str, Sums], samples: int, seed: int) -> dict[str, dict[str, float]]:
    """Return `{metric: {low, high}}`, which bound 95 % of `samples` bootstrap samples.

    With each metric a function of sums over the examples, a sample's score needs only the sums weighted by how often
    each example was drawn. The same samples serve all metrics.
    """
    examples = {len(metric.per_example) for metric in sums.values()}
    scores: dict[str, list[np.ndarray]] = {name: [] for name in sums}
    for counts in resamples(max(examples), samples, seed):
        for name, metric in sums.items():
            scores[name].append(metric.score(counts @ metric.per_example))
    bounds = {name: np.quantile(np.concatenate(parts), [0.025, 0.975]) for name, parts in scores.items()}
    return {name: {"low": float(low), "high": float(high)} for name, (low, high) in bounds.items()}
