"""Quality of recipes and its difference, with bounds for the random choice of test examples and seeds.

Both are crossed: all seeds' models answer the same examples. The variance of a mean over seeds has two parts: the
variance between seeds, over their number, and the part of the variance over examples (from a bootstrap) that all seeds
share.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from greenllm.documents.prediction import Prediction
from greenllm.estimate import Interval
from greenllm.tasks import Task
from greenllm.tasks.bootstrap import CHUNK, resamples, with_imagined
from greenllm.tasks.draws import by_row
from greenllm.tasks.task import Sums

SAMPLES = 2000  # bootstrap samples, and permutations, for each figure
Answers = Sequence[Prediction]


@dataclass(frozen=True)
class Uncertain:
    """A mean over seeds of a metric, or of the difference of two, with its uncertainty.

    `samples` are its bootstrap samples over the examples, `seeds_error` is the standard error from the seeds (0 with
    one), and `freedom` is the number of degrees of freedom of both together.
    """

    value: float
    samples: NDArray[np.float64]
    seeds_error: float = 0.0
    freedom: float = math.inf
    seeds: int = 1
    p_value: float | None = None

    def low(self, confidence: float) -> float:
        """Return the one-sided lower bound."""
        return self.value - self._beyond(self.value - np.quantile(self.samples, 1 - confidence), confidence)

    def high(self, confidence: float) -> float:
        """Return the one-sided upper bound."""
        return self.value + self._beyond(np.quantile(self.samples, confidence) - self.value, confidence)

    def _beyond(self, examples: float, confidence: float) -> float:
        """Widen a bound's distance from examples (percentile bootstrap) by the part from seeds (t distribution)."""
        if self.seeds_error == 0 and math.isinf(self.freedom):
            return float(examples)
        return float(
            stats.t.ppf(confidence, self.freedom) * math.hypot(examples / stats.norm.ppf(confidence), self.seeds_error)
        )

    def interval(self) -> Interval:
        """Return the value with its 95 % bounds."""
        return Interval(self.value, self.low(0.975), self.high(0.975))


def quality(task: Task, metric: str, recipe: Sequence[Answers]) -> Uncertain | None:
    """Return a metric's mean over the seeds' predictions; None where there are none."""
    if (tables := _common(recipe)) is None:
        return None
    return _uncertain(*_bootstrapped([_sums(task, metric, answers) for answers in tables], [1] * len(tables)))


def paired_difference(
    task: Task, metric: str, baseline: Sequence[Answers], recipe: Sequence[Answers]
) -> Uncertain | None:
    """Return the metric of `recipe` minus that of `baseline`, each the mean over the same seeds.

    Each side holds the predictions of each seed; only examples that all have answered count. A bootstrap sample draws
    the same examples for both sides, so that examples that both get wrong do not widen the interval (Efron and
    Tibshirani 1993). None without common examples.

    The p-value (two-sided) is that of a paired permutation test, in which the two answers to an example are swapped.
    For a metric that is a mean of right and wrong it is McNemar's exact test, except that permutations are random.
    With several seeds it is that of a t test over examples and seeds, since other seeds would have made other models.
    Raises ValueError where the sides differ in the number of seeds.
    """
    if len(baseline) != len(recipe):
        raise ValueError(f"{len(baseline)} and {len(recipe)} seeds; expected the same seeds on both sides")
    if (tables := _common([*baseline, *recipe])) is None:
        return None
    sums, seeds = [_sums(task, metric, answers) for answers in tables], len(baseline)
    values, drawn = _bootstrapped(sums, [1] * seeds + [0] * seeds)
    found = _uncertain(values[seeds:] - values[:seeds], drawn[seeds:] - drawn[:seeds])
    return replace(found, p_value=_permutation_p(*sums) if seeds == 1 else _t_p(found))


def _common(predictions: Sequence[Answers]) -> list[list[Prediction]] | None:
    """Return the answers to the examples that all predictions have, in one order, all draws of an example."""
    tables: list[dict[str, list[Prediction]]] = [{} for _ in predictions]
    for table, rows in zip(tables, predictions, strict=True):
        for row in rows:
            table.setdefault(row.id, []).append(row)
    examples = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [[row for example in examples for row in table[example]] for table in tables] if examples else None


def _sums(task: Task, metric: str, answers: Answers) -> Sums:
    return by_row(task.sums(answers), answers)[metric]


def _bootstrapped(sums: Sequence[Sums], imagined: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each metric's score, shape (metrics,), and its bootstrap samples, shape (metrics, samples).

    The same examples are drawn for all metrics, and in every call with the same number of examples. Two imagined
    examples are added for each metric: one that is as `imagined` (1 right, 0 wrong), and its opposite.
    """
    count = len(sums[0].per_example)
    values = [one.score(np.ones((1, count)) @ one.per_example)[0] for one in sums]
    examples, share = with_imagined(sums, imagined)
    chunks = [
        [one.score(share * (drawn @ own)) for one, own in zip(sums, examples, strict=True)]
        for drawn in _chunks(_draws(len(examples[0])))
    ]
    return np.array(values, dtype=np.float64), np.concatenate(chunks, axis=1)


@lru_cache(maxsize=4)
def _draws(count: int) -> NDArray[np.uint8]:
    """Return how often each of `count` examples is drawn, shape (samples, examples); cached, as all recipes share it.

    No example is drawn more than 255 times: the count has about a Poisson distribution with a mean of 1.
    """
    return np.concatenate([drawn.astype(np.uint8) for drawn in resamples(count, SAMPLES, seed=0)])


def _chunks(whole: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(whole), CHUNK):
        yield whole[start : start + CHUNK].astype(np.float64)


def _uncertain(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> Uncertain:
    """Return the mean over seeds of `values`, shape (seeds,), with bootstrap samples `drawn`, shape (seeds, samples).

    The variance between seeds includes the part of the examples' variance that differs between models, so only the
    part that all seeds share is added. Degrees of freedom are Satterthwaite's.
    """
    seeds, mean = len(values), drawn.mean(axis=0)
    value = float(values.mean())
    if seeds == 1:
        return Uncertain(value, mean)
    between = float(values.var(ddof=1)) / seeds
    of_examples = float(mean.var())
    of_each_alone = float((drawn - mean).var(axis=1).sum()) / (seeds - 1) / seeds
    alike = max(0.0, of_examples - of_each_alone)
    samples = value + (mean - value) * math.sqrt(alike / of_examples if of_examples else 0.0)
    freedom = ((alike + between) / between) ** 2 * (seeds - 1) if between else math.inf
    return Uncertain(value, samples, math.sqrt(between), freedom, seeds)


def _t_p(found: Uncertain) -> float:
    error = math.hypot(found.samples.std(), found.seeds_error)
    if error == 0:
        return 1.0 if found.value == 0 else 0.0
    return float(2 * stats.t.sf(abs(found.value) / error, found.freedom))


def _permutation_p(first: Sums, second: Sums) -> float:
    """Return the p-value of a paired permutation test (Monte Carlo: never below 1 / (1 + permutations))."""
    count, lead = len(first.per_example), second.per_example - first.per_example
    changed = np.random.default_rng(0).integers(0, 2, (SAMPLES, count), dtype=np.uint8)
    changed[0] = 0  # the answers as they are
    differences = np.concatenate(
        [
            second.score(second.per_example.sum(axis=0) - flips @ lead)
            - first.score(first.per_example.sum(axis=0) + flips @ lead)
            for flips in _chunks(changed)
        ]
    )
    # Differences that are equal except for rounding count as equally extreme.
    return float(np.mean(np.abs(differences) >= np.abs(differences[0]) * (1 - 1e-9)))
