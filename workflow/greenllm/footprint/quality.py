"""Quality of recipes and its difference, with bounds over the two things chance chose: the test examples and the seeds.

Both kinds of chance are crossed: all seeds' models answer the same examples. The variance of a mean over seeds is that
over examples, from a bootstrap, plus the seeds' own variance component over their number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from greenllm.footprint.intervals import Interval
from greenllm.tasks import Task
from greenllm.tasks.bootstrap import CHUNK, resamples
from greenllm.tasks.task import Sums

SAMPLES = 2000  # bootstrap samples, and permutations, behind each figure
Answers = Sequence[Mapping[str, Any]]  # the lines of a predictions file


@dataclass(frozen=True)
class Uncertain:
    """A mean over seeds of a metric, or of a difference of two, and how sure it is.

    `samples` are its bootstrap samples over the examples; `seeds_error` is the standard error from the seeds beyond
    what the examples explain, `freedom` the degrees of freedom of both together (infinite with one seed).
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
        """Widen a bound's distance over examples alone (percentile bootstrap) by the seeds' part (t distribution)."""
        if self.seeds_error == 0 and math.isinf(self.freedom):
            return float(examples)
        return float(
            stats.t.ppf(confidence, self.freedom) * math.hypot(examples / stats.norm.ppf(confidence), self.seeds_error)
        )

    def interval(self) -> Interval:
        """Return {value, low, high} with 95 % bounds."""
        return {"value": self.value, "low": self.low(0.975), "high": self.high(0.975)}


def quality(task: Task, metric: str, recipe: Sequence[Answers]) -> Uncertain | None:
    """Return a metric's mean over the seeds' predictions; None where there are none."""
    if (tables := _common(recipe)) is None:
        return None
    return _uncertain(*_bootstrapped([task.sums(answers)[metric] for answers in tables]))


def paired_difference(
    task: Task, metric: str, baseline: Sequence[Answers], recipe: Sequence[Answers]
) -> Uncertain | None:
    """Return the metric of `recipe` less that of `baseline`, each the mean over the same seeds.

    Each side holds the lines of a predictions file for each seed ({id, completion, prediction}); only examples that all
    have answered count. A bootstrap sample draws examples, the same for both sides, so that what both get wrong does
    not widen the interval (Efron and Tibshirani 1993). None without common examples.

    The p-value (two-sided) is that of a paired permutation test, in which an example's two answers change sides; for a
    metric that is a mean of right and wrong this is McNemar's exact test. With several seeds it is that of a t test
    over examples and seeds, since other seeds would have made other models. Raises ValueError where the sides differ in
    the number of seeds.
    """
    if len(baseline) != len(recipe):
        raise ValueError(f"{len(baseline)} and {len(recipe)} seeds; expected the same seeds on both sides")
    if (tables := _common([*baseline, *recipe])) is None:
        return None
    sums = [task.sums(answers)[metric] for answers in tables]
    first, second = sums[: len(baseline)], sums[len(baseline) :]
    (values, drawn), (other_values, other_drawn) = _bootstrapped(second), _bootstrapped(first)
    found = _uncertain(values - other_values, drawn - other_drawn)
    p_value = _permutation_p(first[0], second[0]) if len(first) == 1 else _t_p(found)
    return replace(found, p_value=p_value)


def _common(predictions: Sequence[Answers]) -> list[list[Mapping[str, Any]]] | None:
    """Return the answers to the examples that all predictions have, in one order."""
    tables = [{str(row["id"]): row for row in rows} for rows in predictions]
    examples = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [[table[example] for example in examples] for table in tables] if examples else None


def _bootstrapped(sums: Sequence[Sums]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each seed's score, shape (seeds,), and its bootstrap samples, shape (seeds, samples).

    The same examples are drawn for all seeds, and for whatever else has as many examples.
    """
    count = len(sums[0].per_example)
    values = [one.score(np.ones((1, count)) @ one.per_example)[0] for one in sums]
    chunks = [[one.score(drawn @ one.per_example) for one in sums] for drawn in resamples(count, SAMPLES, seed=0)]
    return np.array(values, dtype=np.float64), np.concatenate(chunks, axis=1)


def _uncertain(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> Uncertain:
    """Return the mean over seeds of `values`, shape (seeds,), with bootstrap samples `drawn`, shape (seeds, samples).

    What seeds' values differ by is partly that each model errs on other examples, which the samples hold already; the
    rest is the seeds' variance component. Its freedom is Satterthwaite's.
    """
    seeds, mean = len(values), drawn.mean(axis=0)
    value = float(values.mean())
    if seeds == 1:
        return Uncertain(value, mean)
    between = float(values.var(ddof=1)) / seeds
    of_examples = float((drawn - mean).var(axis=1).sum()) / (seeds - 1) / seeds
    component = max(0.0, between - of_examples)
    whole = float(mean.var()) + component
    freedom = (whole / between) ** 2 * (seeds - 1) if between else math.inf
    return Uncertain(value, mean, math.sqrt(component), freedom, seeds)


def _t_p(found: Uncertain) -> float:
    error = math.hypot(found.samples.std(), found.seeds_error)
    if error == 0:
        return 1.0 if found.value == 0 else 0.0
    return float(2 * stats.t.sf(abs(found.value) / error, found.freedom))


def _permutation_p(first: Sums, second: Sums) -> float:
    stacked, count = np.concatenate([first.per_example, second.per_example]), len(first.per_example)

    def difference(one: NDArray[np.int64], other: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        summed = [np.atleast_2d(stacked[rows].sum(axis=axis - 1)) for rows in (one, other)]
        return np.asarray(second.score(summed[1]) - first.score(summed[0])).reshape(one.shape[:-1])

    rows = np.arange(count)
    return float(
        stats.permutation_test(
            (rows, rows + count), difference, permutation_type="samples", vectorized=True,
            n_resamples=SAMPLES, batch=CHUNK, rng=np.random.default_rng(0),
        ).pvalue
    )  # fmt: skip
