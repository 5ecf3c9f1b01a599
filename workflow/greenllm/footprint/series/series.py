"""A series of values over time, and its mean between two instants."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Mean:
    """A mean over a stretch of time; `covered` is the share of the stretch for which the series has values.

    The value is the mean of the covered part, and None where nothing is covered. The bounds are None where the series
    has none.
    """

    value: float | None
    covered: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values that each hold for one step of time; what lies between two steps is a gap, and unknown.

    Value i holds from `times[i]` to `ends[i]` (Unix time in s, UTC). Steps are in order and do not overlap. `lows` and
    `highs` are bounds of the values, or None.
    """

    times: Sequence[float]
    ends: Sequence[float]
    values: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None
    unit: str
    place: str | None
    source: str
    bridged: int = 0
    """Single missing steps that were filled with the mean of their neighbours."""
    repeated: int = 0
    """Steps that were there twice, with the same value."""

    @cached_property
    def _seconds(self) -> list[float]:
        """The seconds covered before each step."""
        return [0.0, *accumulate(end - start for start, end in zip(self.times, self.ends, strict=True))]

    @cached_property
    def _sums(self) -> dict[str, list[float]]:
        """The sums of value times seconds before each step, of the values and of their bounds."""
        columns = {"value": self.values, "low": self.lows, "high": self.highs}
        return {
            name: [0.0, *accumulate(v * (b - a) for v, a, b in zip(column, self.times, self.ends, strict=True))]
            for name, column in columns.items()
            if column is not None
        }

    def covered_s(self, start: float, end: float) -> float:
        """Return for how many seconds between two instants (Unix time in s) the series has values."""
        return self._integral(self._seconds, (), start, end)

    def mean_between(self, start: float, end: float) -> Mean:
        """Return the mean, weighted by time, between two instants (Unix time in s); of one instant, its value."""
        if end <= start:
            return self._at(start)
        covered_s = self.covered_s(start, end)
        if covered_s <= 0:
            return Mean(None, 0.0)
        columns = {"value": self.values, "low": self.lows, "high": self.highs}
        means = {
            name: self._integral(sums, columns[name] or (), start, end) / covered_s for name, sums in self._sums.items()
        }
        return Mean(covered=min(1.0, covered_s / (end - start)), **means)

    def _integral(self, sums: list[float], values: Sequence[float], start: float, end: float) -> float:
        """Return the integral over time between two instants, of values, or of 1 where `values` is empty."""

        def until(instant: float) -> float:
            index = bisect.bisect_right(self.times, instant) - 1
            if index < 0:
                return 0.0
            inside_s = min(instant, self.ends[index]) - self.times[index]
            return sums[index] + inside_s * (values[index] if values else 1.0)

        return until(end) - until(start)

    def _at(self, instant: float) -> Mean:
        index = bisect.bisect_right(self.times, instant) - 1
        if index < 0 or instant >= self.ends[index]:
            return Mean(None, 0.0)
        low = None if self.lows is None else self.lows[index]
        high = None if self.highs is None else self.highs[index]
        return Mean(self.values[index], 1.0, low, high)
