"""The spread of repeated measurements, and the uncertainty of a mean or of a ratio that follows from it.

Servers are measured side by side, and each is started several times. A ratio is formed for each start, so that what
changes slowly on the host cancels, and its uncertainty follows from what is left of the logarithms after each server's
and each start's mean (greenllm.repetitions). With several seeds a ratio is formed for each seed, and its uncertainty
follows from the spread between seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from greenllm.estimate import Estimate
from greenllm.repetitions import residual

LARGER = 0.1  # significance at which a recipe's spread counts as larger than the others'
LATER = 0.05  # significance at which the starts after the first stage count as varying more than those of it
OWN = 0.1  # significance at which a ratio's own spread counts as larger than that of all servers

Over = Literal["starts", "rounds"]


@dataclass(frozen=True)
class Repeated:
    """A positive quantity of one model, such as its energy per request in J.

    `estimate` is over all of its measurements, `runs` holds the value of each start of its server, in the same unit,
    `starts` their numbers. Of these, those below `first` determined how many starts there were; None if that was fixed
    before. `over` is "rounds" where the server was started once: then `runs` has the value of each round.
    """

    estimate: Estimate
    runs: tuple[float, ...]
    starts: tuple[int, ...] = ()
    first: int | None = None
    over: Over = "rounds"

    def plus(self, other: Estimate) -> "Repeated":
        """Return the sum of this quantity and another that was measured once."""
        return replace(self, estimate=self.estimate + other, runs=tuple(run + other.value for run in self.runs))


BySeed = Mapping[int, Repeated]


@dataclass(frozen=True)
class Spread:
    """The spread of the logarithms of `count` independent measurements: of seeds, or of a server's starts or rounds.

    `freedom` is the number of degrees of freedom of `deviation`; if `pooled`, other recipes' measurements are included.
    """

    over: Literal["seeds"] | Over
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

    With several seeds it is the spread between the seeds' models and deployments, which includes that between starts;
    since seeds are few, the recipes' variances are pooled. With one seed it is the spread between its server's starts.
    """
    found = {name: _own(by_seed) for name, by_seed in recipes.items()}
    by_seeds = {name: spread for name, spread in found.items() if spread and spread.over == "seeds"}
    return {**found, **_pooled(by_seeds)}


def _own(by_seed: BySeed) -> Spread | None:
    values = [quantity.estimate.value for quantity in by_seed.values()]
    if len(values) > 1:
        return Spread("seeds", _logarithms(values).std(ddof=1), len(values), len(values) - 1)
    for quantity in by_seed.values():
        if (count := len(quantity.runs)) > 1:
            return Spread(quantity.over, _logarithms(quantity.runs).std(ddof=1), count, count - 1)
    return None


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
    alike = {name: one for (name, one), larger in zip(spreads.items(), _larger(spreads), strict=True) if not larger}
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


def _larger(spreads: Mapping[str, Spread]) -> Sequence[bool]:
    """Return for each spread whether it is larger than the mean of all others (one-sided F test)."""
    if len(spreads) < 2:
        return [False] * len(spreads)
    freedom = np.array([spread.freedom for spread in spreads.values()])
    variance = np.array([spread.deviation for spread in spreads.values()]) ** 2
    others = _sums_of_others(freedom)
    mean = _sums_of_others(freedom * variance) / others
    larger: list[bool] = (variance > mean * stats.f.isf(LARGER, freedom, others)).tolist()
    return larger


def _sums_of_others(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each value the sum of all others, without its own being added and subtracted again."""
    before, after = np.cumsum(values), np.cumsum(values[::-1])[::-1]
    others: NDArray[np.float64] = np.append(0.0, before[:-1]) + np.append(after[1:], 0.0)
    return others


def _is_larger(spread: Spread, other: Spread, significance: float) -> bool:
    return spread.deviation**2 > other.deviation**2 * _f_quantile(significance, spread.freedom, other.freedom)


@lru_cache(maxsize=1024)
def _f_quantile(significance: float, freedom: float, other: float) -> float:
    """Return what an F distribution exceeds with this probability; cached, since most freedoms are the same."""
    return float(stats.f.isf(significance, freedom, other))


@dataclass(frozen=True)
class LogRatio:
    """The logarithm of a ratio of two recipes' energies, and its spread (None where it was measured once).

    `starts` is what the starts alone show: the spread of a model against itself, which no seed changes.
    """

    value: float
    spread: Spread | None
    starts: Spread | None = None


def alike_by_seed(recipes: Mapping[str, BySeed]) -> dict[int, Spread | None]:
    """Return the spread of one start's ratio among all servers of each seed; None with fewer than two servers."""
    servers: dict[int, list[Repeated]] = {}
    for by_seed in recipes.values():
        for seed, server in by_seed.items():
            servers.setdefault(seed, []).append(server)
    return {seed: _alike(own) for seed, own in servers.items()}


def log_ratio(first: BySeed, second: BySeed, alike: Mapping[int, Spread | None]) -> LogRatio | None:
    """Return the logarithm of first / second over the seeds that both have; `alike` is that of `alike_by_seed`.

    None without common seeds, or if an energy is not positive.
    """
    seeds = sorted(first.keys() & second.keys())
    pairs = [_pair(first[seed], second[seed], alike[seed]) for seed in seeds]
    known = [pair for pair in pairs if pair is not None]
    if not known or len(known) < len(pairs):
        return None
    values = np.array([pair.value for pair in known])
    within = [pair.spread for pair in known if pair.spread is not None]
    starts = _of_mean(within) if within else None
    spread = starts
    if len(values) > 1:
        spread = Spread("seeds", float(values.std(ddof=1)), len(values), len(values) - 1)
    return LogRatio(float(values.mean()), spread, starts)


def pooled_over_seeds(ratios: Mapping[str, LogRatio]) -> dict[str, LogRatio]:
    """Return the ratios of recipes to one baseline with their spreads over seeds pooled as in `spreads`.

    An interval over seeds is not narrower than what the starts alone show.
    """
    pooled = _pooled({name: one.spread for name, one in ratios.items() if one.spread and one.spread.over == "seeds"})
    found = dict(ratios)
    for name, spread in pooled.items():
        starts = ratios[name].starts
        found[name] = replace(ratios[name], spread=starts if starts and starts.half > spread.half else spread)
    return found


def _pair(first: Repeated, second: Repeated, alike: Spread | None) -> LogRatio | None:
    """Return the logarithm of first / second, over the starts that both have; None if an energy is not positive.

    `alike` is the spread of one start's ratio among all servers. It counts, unless this ratio's own is larger.
    """
    if first.estimate.value <= 0 or second.estimate.value <= 0:
        return None
    one, other = (dict(zip(quantity.starts, quantity.runs, strict=False)) for quantity in (first, second))
    starts = sorted(one.keys() & other.keys())
    if not starts or min(min(one[start], other[start]) for start in starts) <= 0:  # a counter that did not change
        return LogRatio(math.log(first.estimate.value / second.estimate.value), None)
    ratios = np.array([math.log(one[start] / other[start]) for start in starts])
    value, spread = float(ratios.mean()), None
    if len(ratios) > 1:
        spread = Spread(first.over, float(ratios.std(ddof=1)), len(ratios), len(ratios) - 1)
        if alike is not None and not _is_larger(spread, alike, OWN):
            spread = replace(alike, count=len(ratios))
    return LogRatio(value, spread)


def _alike(servers: Sequence[Repeated]) -> Spread | None:
    """Return the spread of one start's ratio among servers that were measured side by side; None with fewer than two.

    If a first stage determined the number of starts, its variance counts: then the interval is exact (C. Stein, "A
    Two-Sample Test for a Linear Hypothesis Whose Power is Independent of the Variance", Annals of Mathematical
    Statistics 16, 1945). It is that of all starts if the later ones vary more (F test): then the host was less steady
    later, and the first stage alone would understate the error (`benchmarks/coverage.py`).
    """
    tables = [dict(zip(one.starts, one.runs, strict=False)) for one in servers if one.runs and min(one.runs) > 0]
    starts = sorted(set.intersection(*map(set, tables))) if tables else []
    if len(tables) < 2 or len(starts) < 2:
        return None
    logs = np.log([[table[start] for start in starts] for table in tables])
    first = servers[0].first
    staged = len(starts) if first is None else sum(start < first for start in starts)
    whole, before, after = (_of_ratios(part, servers[0].over) for part in (logs, logs[:, :staged], logs[:, staged:]))
    if before is None or (after is not None and _is_larger(after, before, LATER)):
        return whole
    return before


def _of_ratios(logs: NDArray[np.float64], over: Over) -> Spread | None:
    """Return the spread of one start's ratio from the logarithms of servers (rows) in starts (columns)."""
    left = residual(logs) if logs.size else None
    if left is None:
        return None
    return Spread(over, math.sqrt(2 * left.variance), logs.shape[1], left.freedom, pooled=len(logs) > 2)


def _of_mean(spreads: Sequence[Spread]) -> Spread:
    """Return the spread of the mean of several seeds' ratios that follows from their starts alone."""
    if len(spreads) == 1:
        return spreads[0]
    error = math.sqrt(sum(spread.error**2 for spread in spreads)) / len(spreads)
    return Spread(spreads[0].over, error, 1, sum(spread.freedom for spread in spreads))


def independent(first: Spread | None, second: Spread | None) -> Spread | None:
    """Return the spread of the ratio of two means that were measured at different times; None where both are unknown.

    Where one is unknown, it is the other's. The degrees of freedom are those of Welch and Satterthwaite.
    """
    if first is None or second is None:
        return first or second
    error = math.hypot(first.error, second.error)
    if first.pooled and second.pooled:  # the same variance
        freedom = first.freedom
    elif error:
        freedom = error**4 / (first.error**4 / first.freedom + second.error**4 / second.freedom)
    else:
        freedom = first.freedom + second.freedom
    return Spread(first.over, error, 1, freedom, first.pooled and second.pooled)
