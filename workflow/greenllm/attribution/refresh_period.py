"""When a sensor renewed what it shows: regular instants, found from readings that were taken at other times.

A card renews its energy counter, or its power, some ten times a second, independent of its readers. If two readings
differ, there was a renewal in the bracket between them. One bracket locates its renewal poorly. Regular instants that
pass through all brackets are known far better.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenllm.attribution.attempt import Array

Indices = npt.NDArray[np.int64]

# Refresh periods of NVIDIA's cards lie between 10 and 100 ms (arXiv 2312.02741, table 2); searched with some room.
SHORTEST_S, LONGEST_S = 0.008, 0.25
# The number of brackets, and the time, in which the period is searched.
SOUGHT_IN, SOUGHT_OVER_S = 60, 30.0
# A bracket wider than this part of the period does not determine its phase.
NARROW = 0.6
# The most brackets in a run of regular instants: the cost grows with the square.
LONGEST_RUN = 400
# The number of periods tried among the lines through a run's brackets.
PERIODS_TRIED = 33
# The time that a reading takes (it is stamped after it was made), beside rounding to microseconds.
CLOCK_S = 2e-4


@dataclass(frozen=True)
class Brackets:
    """Instants that are each known to lie between `low` and `high` (seconds)."""

    low: Array
    high: Array

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, chosen: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Brackets":
        return Brackets(self.low[chosen], self.high[chosen])


def periods_through(brackets: Brackets, index: Indices) -> tuple[float, float]:
    """Return the least and the greatest period p for which some a + index·p lie in all brackets.

    For each pair i < j the line may rise by no less than low_j - high_i, no more than high_j - low_i; together these
    conditions suffice (a line through vertical segments).
    """
    steps = index[None, :] - index[:, None]
    later = steps > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.where(later, (brackets.low[None, :] - brackets.high[:, None]) / steps, -np.inf)
        greatest = np.where(later, (brackets.high[None, :] - brackets.low[:, None]) / steps, np.inf)
    return float(least.max(initial=-np.inf)), float(greatest.min(initial=np.inf))


@dataclass(frozen=True)
class Regular:
    """A run of regular instants, through brackets `first` to `last`: number n is `at_s` + (n - `index`)·`period_s`.

    `at_s` is the mean instant, and `deviation_s` its standard deviation.
    """

    first: int
    last: int
    index: float
    at_s: float
    deviation_s: float
    period_s: float

    def instants(self, index: npt.NDArray[np.floating] | Indices) -> Array:
        """Return the instants with these numbers, in seconds."""
        return self.at_s + (np.asarray(index, dtype=float) - self.index) * self.period_s


def _fit(brackets: Brackets, index: Indices, first: int, least: float, greatest: float) -> Regular:
    """Return the mean of all lines through the brackets, all equally likely."""
    centre = float(index.mean())
    several = np.isfinite([least, greatest]).all()  # else one bracket
    periods = np.linspace(least, greatest, PERIODS_TRIED) if several else np.zeros(1)
    lows = (brackets.low[:, None] - (index[:, None] - centre) * periods).max(axis=0)
    highs = (brackets.high[:, None] - (index[:, None] - centre) * periods).min(axis=0)
    wide, middles = np.maximum(0.0, highs - lows), (lows + highs) / 2
    weights = wide / wide.sum() if wide.any() else np.full(len(wide), 1 / len(wide))
    at_s = float(weights @ middles)
    variance = float(weights @ ((middles - at_s) ** 2 + wide**2 / 12))
    return Regular(first, first + len(brackets) - 1, centre, at_s, variance**0.5, float(weights @ periods))


def regular_runs(brackets: Brackets, index: Indices) -> Iterator[Regular]:
    """Cut brackets (in order, numbered by `index`) into the longest runs of regular instants."""
    first = 0
    least, greatest = -np.inf, np.inf
    for j in range(len(brackets)):
        own = slice(first, j)
        steps = index[j] - index[own]
        later = steps > 0
        rise_least = (brackets.low[j] - brackets.high[own][later]) / steps[later]
        rise_greatest = (brackets.high[j] - brackets.low[own][later]) / steps[later]
        new_least = max(least, float(rise_least.max(initial=-np.inf)))
        new_greatest = min(greatest, float(rise_greatest.min(initial=np.inf)))
        if new_least > new_greatest or j - first >= LONGEST_RUN:
            yield _fit(brackets[own], index[own], first, least, greatest)
            first, least, greatest = j, -np.inf, np.inf
        else:
            least, greatest = new_least, new_greatest
    if len(brackets):
        yield _fit(brackets[first:], index[first:], first, least, greatest)


def changes(times: Array, values: Array) -> Brackets:
    """Return the brackets between neighbouring readings (in order of time) that differ."""
    changed = np.flatnonzero(np.diff(values))
    return Brackets(times[changed] - CLOCK_S, times[changed + 1] + CLOCK_S)


def refresh_period(brackets: Brackets, usual_s: float) -> float | None:
    """Return the refresh period in seconds: the usual one, else the longest, whose instants pass through all brackets.

    Only the narrower half of the brackets is used: late readings widened the others, which may hold two renewals.
    None where there are too few brackets, or no period fits.
    """
    if not len(brackets):
        return None
    width_s = float(np.median(brackets.high - brackets.low))
    narrow = brackets[brackets.high - brackets.low <= width_s]
    narrow = narrow[narrow.high < narrow.low[0] + SOUGHT_OVER_S][:SOUGHT_IN]
    if len(narrow) < 3 or width_s > NARROW * LONGEST_S:
        return None
    span_s = float(narrow.high[-1] - narrow.low[0])
    middles = (narrow.low + narrow.high) / 2 - narrow.low[0]
    finest = 0.25 * width_s / max(span_s, LONGEST_S)  # relative: the last bracket's phase moves by a quarter of it
    nearby = np.arange(0, 0.02, finest)
    usual = usual_s * np.exp(np.stack([nearby, -nearby], axis=1).ravel())
    others = LONGEST_S * np.exp(-np.arange(0, np.log(LONGEST_S / max(SHORTEST_S, width_s / NARROW)), finest))
    for period_s in (*usual, *others):
        turns = middles / period_s
        # the mean direction of the phases; those that fit lie within a bracket's width of it
        angle = np.angle(np.exp(2j * np.pi * turns).mean()) / (2 * np.pi)
        away_s = np.abs((turns - angle + 0.5) % 1 - 0.5) * period_s
        if (away_s <= width_s).all():
            least, greatest = periods_through(narrow, np.round(turns - angle).astype(np.int64))
            if least <= usual_s <= greatest:
                return usual_s
            if least <= greatest and np.isfinite(greatest):
                return (least + greatest) / 2
    return None


def number(brackets: Brackets, period_s: float) -> Indices:
    """Return which refresh each bracket holds, counted from the first: the distance to the one before, rounded."""
    middles = (brackets.low + brackets.high) / 2
    steps = np.round(np.diff(middles) / period_s).astype(np.int64)
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.int64) if len(middles) else np.zeros(0, dtype=np.int64)
