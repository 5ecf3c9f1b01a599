"""The spread of repeated measurements, and the uncertainty of a mean or of a ratio that follows from it.

Servers are measured side by side, in blocks. A ratio is formed within each block, so that what changes slowly on the
host cancels, and its uncertainty follows from the spread of the blocks' ratios (a t test of pairs). With several seeds
a ratio is formed for each seed, and its uncertainty follows from the spread between seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from greenllm.estimate import Estimate

LARGER = 0.1  # significance at which a recipe's spread counts as larger than the others'
LATER = 0.05  # significance at which the blocks after the first stage count as varying more than those of it


@dataclass(frozen=True)
class Repeated:
    """A positive quantity of one model, such as its energy per request in J.

    `estimate` is over all of its measurements, `runs` holds the value of each block, in the same unit, `blocks` their
    numbers. Of these, those below `first` determined how many blocks were measured; None if that was fixed before.
    """

    estimate: Estimate
    runs: tuple[float, ...]
    blocks: tuple[int, ...] = ()
    first: int | None = None

    def plus(self, other: Estimate) -> "Repeated":
        """Return the sum of this quantity and another that was measured once."""
        return replace(self, estimate=self.estimate + other, runs=tuple(run + other.value for run in self.runs))


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
        return self.half_at(0.95)

    def half_at(self, confidence: float) -> float:
        """Return half the width of the interval of the mean's logarithm with this confidence (t distribution)."""
        return float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.error if self.error else 0.0


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


def _is_larger(spread: Spread, others: Sequence[Spread], significance: float = LARGER) -> bool:
    if not others:
        return False
    variance, freedom = _mean_variance(others)
    return bool(spread.deviation**2 > variance * stats.f.isf(significance, spread.freedom, freedom))


@dataclass(frozen=True)
class LogRatio:
    """The logarithm of a ratio of two recipes' energies, and its spread (None where it was measured once)."""

    value: float
    spread: Spread | None


def log_ratios(recipes: Mapping[str, BySeed], baseline: str) -> dict[str, LogRatio | None]:
    """Return the logarithm of baseline / recipe for each recipe, over the seeds that both have.

    None without common seeds, or if an energy is not positive. The spreads over seeds are pooled as in `spreads`; an
    interval over seeds is not narrower than what the blocks alone show.
    """
    found: dict[str, LogRatio | None] = {}
    over_blocks: dict[str, Spread] = {}
    for name, by_seed in recipes.items():
        seeds = sorted(recipes[baseline].keys() & by_seed.keys())
        pairs = [_pair(recipes[baseline][seed], by_seed[seed]) for seed in seeds]
        known = [pair for pair in pairs if pair is not None]
        if not known or len(known) < len(pairs):
            found[name] = None
            continue
        values = np.array([pair.value for pair in known])
        if within := [pair.spread for pair in known if pair.spread is not None]:
            over_blocks[name] = _of_mean(within)
        spread = over_blocks.get(name)
        if len(values) > 1:
            spread = Spread("seeds", float(values.std(ddof=1)), len(values), len(values) - 1)
        found[name] = LogRatio(float(values.mean()), spread)
    others = {name: one for name, one in found.items() if name != baseline and one is not None}
    pooled = _pooled({name: one.spread for name, one in others.items() if one.spread and one.spread.over == "seeds"})
    for name, spread in pooled.items():
        blocks = over_blocks.get(name)
        found[name] = replace(others[name], spread=blocks if blocks and blocks.half > spread.half else spread)
    return found


def _pair(first: Repeated, second: Repeated) -> LogRatio | None:
    """Return the logarithm of first / second, over the blocks that both have; None if an energy is not positive."""
    if first.estimate.value <= 0 or second.estimate.value <= 0:
        return None
    one, other = (dict(zip(quantity.blocks, quantity.runs, strict=False)) for quantity in (first, second))
    blocks = sorted(one.keys() & other.keys())
    if not blocks or min(min(one[block], other[block]) for block in blocks) <= 0:  # a counter that did not change
        return LogRatio(math.log(first.estimate.value / second.estimate.value), None)
    ratios = np.array([math.log(one[block] / other[block]) for block in blocks])
    return LogRatio(float(ratios.mean()), _of_blocks(ratios, blocks, first.first))


def _of_blocks(ratios: NDArray[np.float64], blocks: Sequence[int], first: int | None) -> Spread | None:
    """Return the spread of the blocks' log ratios; None for a single block.

    If a first stage determined the number of blocks, the variance is the first stage's: then the interval is exact
    (C. Stein, "A Two-Sample Test for a Linear Hypothesis Whose Power is Independent of the Variance", Annals of
    Mathematical Statistics 16, 1945). It is that of all blocks if the later ones vary more (F test): then the host was
    less steady later, and the first stage alone would understate the error (`benchmarks/coverage.py`).
    """
    if len(ratios) < 2:
        return None
    later = sum(block >= first for block in blocks) if first is not None else 0
    staged, since = ratios[: len(ratios) - later], ratios[len(ratios) - later :]
    whole = Spread("rounds", float(ratios.std(ddof=1)), len(ratios), len(ratios) - 1)
    if len(since) < 1 or len(staged) < 2:
        return whole
    own = Spread("rounds", float(staged.std(ddof=1)), len(ratios), len(staged) - 1)
    if len(since) < 2:
        return own
    after = Spread("rounds", float(since.std(ddof=1)), len(since), len(since) - 1)
    return whole if _is_larger(after, [own], LATER) else own


def _of_mean(spreads: Sequence[Spread]) -> Spread:
    """Return the spread of the mean of several seeds' ratios that follows from their blocks alone."""
    if len(spreads) == 1:
        return spreads[0]
    error = math.sqrt(sum(spread.error**2 for spread in spreads)) / len(spreads)
    return Spread("rounds", error, 1, sum(spread.freedom for spread in spreads))


def independent(first: Spread | None, second: Spread | None) -> Spread | None:
    """Return the spread of the ratio of two means that were measured at different times; None where one is unknown.

    The degrees of freedom are those of Welch and Satterthwaite.
    """
    if first is None or second is None:
        return None
    error = math.hypot(first.error, second.error)
    if first.pooled and second.pooled:  # the same variance
        freedom = first.freedom
    elif error:
        freedom = error**4 / (first.error**4 / first.freedom + second.error**4 / second.freedom)
    else:
        freedom = first.freedom + second.freedom
    return Spread(first.over, error, 1, freedom, first.pooled and second.pooled)
