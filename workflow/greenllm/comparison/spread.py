"""The spread of repeated measurements, and the uncertainty of their mean that follows from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from greenllm.estimate import Estimate

LARGER = 0.1  # significance at which a recipe's spread counts as larger than the others'
ALIKE = 0.025  # significance at which two recipes count as correlated over the seeds


@dataclass(frozen=True)
class Repeated:
    """A positive quantity of one model, such as its energy per request in J.

    `estimate` is over all of its measurements, `runs` holds the value of each of them, in the same unit.
    """

    estimate: Estimate
    runs: tuple[float, ...]

    def plus(self, other: Estimate) -> "Repeated":
        """Return the sum of this quantity and another that was measured once."""
        return Repeated(self.estimate + other, tuple(run + other.value for run in self.runs))


BySeed = Mapping[int, Repeated]


@dataclass(frozen=True)
class Spread:
    """The spread of the logarithms of `count` independent measurements: of seeds, or of one deployment's rounds.

    `freedom` is the number of degrees of freedom of `deviation`; if `pooled`, other recipes' measurements are included.
    """

    over: Literal["seeds", "rounds"]
    deviation: float
    count: int
    freedom: float
    pooled: bool = False

    @property
    def error(self) -> float:
        """The standard error of the mean's logarithm, about its relative error."""
        return self.deviation / math.sqrt(self.count)

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval of the mean's logarithm (t distribution)."""
        return float(stats.t.ppf(0.975, self.freedom)) * self.error if self.error else 0.0


def spreads(recipes: Mapping[str, BySeed]) -> dict[str, Spread | None]:
    """Return the spread of each recipe's mean; None where it was measured once and the spread is unknown.

    With several seeds it is the spread between the seeds' models and deployments, which includes that between rounds;
    since seeds are few, the recipes' variances are pooled. With one seed it is the spread between its rounds.
    """
    found = {name: _own(by_seed) for name, by_seed in recipes.items()}
    by_seeds = {name: spread for name, spread in found.items() if spread and spread.over == "seeds"}
    return {**found, **_pooled(by_seeds)}


def _own(by_seed: BySeed) -> Spread | None:
    values = [quantity.estimate.value for quantity in by_seed.values()]
    if len(values) > 1:
        return Spread("seeds", _logarithms(values).std(ddof=1), len(values), len(values) - 1)
    runs = next((quantity.runs for quantity in by_seed.values()), ())
    return Spread("rounds", _logarithms(runs).std(ddof=1), len(runs), len(runs) - 1) if len(runs) > 1 else None


def _logarithms(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the logarithms of values; if one is not positive, their ratios to the mean, which are about the same.

    A value is zero if a sensor's counter did not change.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return np.log(numbers) if numbers.min() > 0 else numbers / numbers.mean()


def _pooled(spreads: Mapping[str, Spread]) -> dict[str, Spread]:
    """Return the spreads with their variances pooled, except that of a recipe whose own is larger than the others'.

    Pooling assumes that the relative spreads of one experiment's recipes are equal, as any analysis of variance does. A
    one-sided F test against the others excludes a recipe whose spread is larger, which pooling would understate.
    """
    alike = {
        name: spread
        for name, spread in spreads.items()
        if not _is_larger(spread, [other for key, other in spreads.items() if key != name])
    }
    if len(alike) < 2:
        return dict(spreads)
    variance, freedom = _mean_variance(list(alike.values()))
    common = {
        name: replace(spread, deviation=math.sqrt(variance), freedom=freedom, pooled=True)
        for name, spread in alike.items()
    }
    return {**spreads, **common}


def _mean_variance(spreads: Sequence[Spread]) -> tuple[float, float]:
    freedom = sum(spread.freedom for spread in spreads)
    return sum(spread.freedom * spread.deviation**2 for spread in spreads) / freedom, freedom


def _is_larger(spread: Spread, others: Sequence[Spread]) -> bool:
    if not others:
        return False
    variance, freedom = _mean_variance(others)
    return bool(spread.deviation**2 > variance * stats.f.isf(LARGER, spread.freedom, freedom))


def of_ratio(first: BySeed, second: BySeed, own: tuple[Spread | None, Spread | None]) -> Spread | None:
    """Return the spread of the ratio of two quantities' means over the seeds that both have; None where unknown.

    `own` are the two quantities' spreads. Where both are correlated over the seeds (Pearson's correlation, one-sided
    test) it is the spread of the seeds' ratios: a t test of pairs. Elsewhere the two count as independent, with degrees
    of freedom by Welch and Satterthwaite: with few seeds, pairing without correlation would only cost degrees of
    freedom.
    """
    seeds = sorted(first.keys() & second.keys())
    one, other = (replace(spread, count=len(seeds)) if spread and spread.over == "seeds" else spread for spread in own)
    if one is None or other is None:
        return None
    if one.over == other.over == "seeds" and len(seeds) > 1:
        logarithms = [_logarithms([table[seed].estimate.value for seed in seeds]) for table in (first, second)]
        if _correlated(*logarithms):
            deviation = float((logarithms[0] - logarithms[1]).std(ddof=1))
            return Spread("seeds", deviation, len(seeds), len(seeds) - 1)
    error = math.hypot(one.error, other.error)
    if one.pooled and other.pooled:  # the same variance
        freedom = one.freedom
    elif error:
        freedom = error**4 / (one.error**4 / one.freedom + other.error**4 / other.freedom)
    else:
        freedom = one.freedom + other.freedom
    return Spread(one.over, error, 1, freedom, one.pooled and other.pooled)


def _correlated(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    if len(first) < 3 or not np.ptp(first) or not np.ptp(second):
        return False
    return bool(stats.pearsonr(first, second, alternative="greater").pvalue < ALIKE)
