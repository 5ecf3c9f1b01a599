"""A series of values over time, and its mean between two times."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True, kw_only=True)
class RecordedSeries:
    """Values that each hold for one step of time; what lies between two steps is a gap, and unknown.

    Value i holds from `times[i]` to `ends[i]` (Unix time in s, UTC). Steps are in order and do not overlap. `lows` and
    `highs` are bounds of the values, or None. `bridged` counts single missing steps that were filled with the mean of
    their neighbours, `repeated` steps that were there twice with the same value.
    `issued` is when a forecast was made (Unix time in s), None where the file does not say it.
    """

    times: Sequence[float]
    ends: Sequence[float]
    values: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None
    unit: str
    place: str | None
    source: str
    issued: float | None = None
    bridged: int = 0
    repeated: int = 0

    def mean_between(self, start: datetime, end: datetime) -> tuple[float | None, float]:
        """Return the mean, weighted by time, between two times, and the share of this stretch that has values.

        It is the mean of the part that has values; None if nothing has. Of one instant it is the value.
        """
        return self._mean(self._of_values, start, end)

    def bounds_between(self, start: datetime, end: datetime) -> tuple[float, float] | None:
        """Return the means of the bounds between two times; None if the series has none, or no values there."""
        if self._of_lows is None or self._of_highs is None:
            return None
        low, high = (self._mean(sums, start, end)[0] for sums in (self._of_lows, self._of_highs))
        return None if low is None or high is None else (low, high)

    @cached_property
    def _of_values(self) -> "_Integral":
        return _Integral(self.times, self.ends, self.values)

    @cached_property
    def _of_lows(self) -> "_Integral | None":
        return None if self.lows is None else _Integral(self.times, self.ends, self.lows)

    @cached_property
    def _of_highs(self) -> "_Integral | None":
        return None if self.highs is None else _Integral(self.times, self.ends, self.highs)

    @cached_property
    def _covered(self) -> "_Integral":
        return _Integral(self.times, self.ends, [1.0] * len(self.times))

    def _mean(self, integral: "_Integral", start: datetime, end: datetime) -> tuple[float | None, float]:
        first, last = start.timestamp(), end.timestamp()
        if last <= first:
            value = integral.at(first)
            return value, 0.0 if value is None else 1.0
        covered_s = self._covered.between(first, last)
        if covered_s <= 0:
            return None, 0.0
        return integral.between(first, last) / covered_s, min(1.0, covered_s / (last - first))


class _Integral:
    """The integral of values over time, found in logarithmic time."""

    def __init__(self, times: Sequence[float], ends: Sequence[float], values: Sequence[float]) -> None:
        self._times, self._ends, self._values = times, ends, values
        steps = zip(times, ends, values, strict=True)
        self._before = [0.0, *accumulate(value * (end - start) for start, end, value in steps)]

    def between(self, start: float, end: float) -> float:
        return self._until(end) - self._until(start)

    def at(self, instant: float) -> float | None:
        """Return the value at an instant; None in a gap."""
        index = bisect.bisect_right(self._times, instant) - 1
        return self._values[index] if index >= 0 and instant < self._ends[index] else None

    def _until(self, instant: float) -> float:
        index = bisect.bisect_right(self._times, instant) - 1
        if index < 0:
            return 0.0
        return self._before[index] + (min(instant, self._ends[index]) - self._times[index]) * self._values[index]
