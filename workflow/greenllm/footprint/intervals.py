"""Comparing recipes: over seeds, as ratios in which the host's common error cancels, and by paired answers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from greenllm.meter.estimate import Estimate, ratio, total
from greenllm.tasks import Task
from greenllm.tasks.bootstrap import resamples

Interval = dict[str, float]
SAMPLES = 2000  # bootstrap samples behind the interval of a difference in quality


def interval(estimate: Any) -> Interval:
    """Return anything that has a value and bounds as {value, low, high}."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def energy_of(estimate: Estimate | None) -> Interval | None:
    """Return an energy as {value, low, high}, None where it is unknown."""
    return None if estimate is None else interval(estimate)


def widened(sensor: Interval, spread: Sequence[float]) -> Interval:
    """Widen a positive quantity's interval by its spread over seeds.

    `spread` holds the seeds' own values. Both errors are taken as independent and relative, so that they add as squares
    of logarithms: the sensor's half-width and t(0.975, n - 1) * s / sqrt(n). One seed says nothing about its spread.
    """
    if len(spread) < 2:
        return sensor
    logarithms = np.log(spread)
    half = float(student.ppf(0.975, len(spread) - 1) * logarithms.std(ddof=1) / math.sqrt(len(spread)))
    value = sensor["value"]
    below, above = math.log(value / sensor["low"]) if sensor["low"] > 0 else math.inf, math.log(sensor["high"] / value)
    return {
        "value": value,
        "low": value * math.exp(-math.hypot(below, half)),
        "high": value * math.exp(math.hypot(above, half)),
    }


def mean_over_seeds(energies: Mapping[int, Estimate]) -> Interval | None:
    """Return the mean of the seeds' energies, with the sensors' error and the spread over seeds; None without any."""
    if not energies:
        return None
    values = list(energies.values())
    mean = total(values).scaled(1 / len(values))
    return widened(interval(mean), [value.value for value in values])


def times_less(baseline: Mapping[int, Estimate], recipe: Mapping[int, Estimate]) -> Interval | None:
    """Return how many times less energy `recipe` takes than `baseline`, over the seeds both have; None without any.

    Parameters that both share (a host's idle power, a card's gain) cancel, instead of widening the interval twice.
    """
    seeds = sorted(baseline.keys() & recipe.keys())
    if not seeds or any(recipe[seed].value <= 0 or baseline[seed].value <= 0 for seed in seeds):
        return None
    found = ratio(total(baseline[seed] for seed in seeds), total(recipe[seed] for seed in seeds))
    if not math.isfinite(found.high):
        return None
    return widened(interval(found), [baseline[seed].value / recipe[seed].value for seed in seeds])


def verdict(factor: Interval | None) -> str:
    """Say what a ratio baseline / recipe means: "saves", "loss", "not resolvable" (1 lies within), or "unknown"."""
    if factor is None:
        return "unknown"
    if factor["low"] > 1:
        return "saves"
    return "loss" if factor["high"] < 1 else "not resolvable"


def paired_difference(
    task: Task,
    metric: str,
    baseline: Sequence[Sequence[Mapping[str, Any]]],
    recipe: Sequence[Sequence[Mapping[str, Any]]],
) -> Interval | None:
    """Return the metric of `recipe` less that of `baseline`, with a 95 % paired bootstrap interval.

    Each side holds the rows of a predictions file for each seed ({id, completion, prediction}); only examples that all
    have answered count, and the seeds' scores are averaged. A bootstrap sample draws examples, the same for both sides,
    so that what both get wrong does not widen the interval (Efron and Tibshirani 1993). None without common examples.
    """
    tables = [{str(row["id"]): row for row in rows} for rows in (*baseline, *recipe)]
    if not baseline or not recipe:
        return None
    examples = sorted(set.intersection(*(set(table) for table in tables)))
    if not examples:
        return None
    sums = [task.sums([table[example] for example in examples])[metric] for table in tables]
    count = len(examples)

    def difference(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = [one.score(counts @ one.per_example) for one in sums]
        return np.asarray(np.mean(scores[len(baseline) :], axis=0) - np.mean(scores[: len(baseline)], axis=0))

    drawn = [difference(counts) for counts in resamples(count, SAMPLES, seed=0)]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return {"value": float(difference(np.ones((1, count)))[0]), "low": float(low), "high": float(high)}


def unpaired_difference(baseline: Interval, recipe: Interval) -> Interval:
    """Return recipe - baseline from two intervals taken as independent (their half-widths add as squares)."""
    value = recipe["value"] - baseline["value"]
    below = math.hypot(recipe["value"] - recipe["low"], baseline["high"] - baseline["value"])
    above = math.hypot(recipe["high"] - recipe["value"], baseline["value"] - baseline["low"])
    return {"value": value, "low": value - below, "high": value + above}
