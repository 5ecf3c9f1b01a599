"""Watches readings that a sensor renews at intervals, and keeps those just before and after a change.

A reading of a counter that ticks ten times a second is up to a tenth of a second late. The counter was renewed between
the last reading of one value and the first of the next; attribution finds the instants from such pairs.
"""

import math
from dataclasses import dataclass

Reading = tuple[float, float]  # CLOCK_MONOTONIC in s, raw

# A card renews what it shows every 10 to 100 ms (arXiv 2312.02741); a counter that does not within RENEWAL_S does not
# move at all. POLL_S is the time between two polls: less than the shortest period, more than a call of NVML takes.
RENEWAL_S, POLL_S = 0.3, 0.005
# A job's edge is polled for this number of renewals. Two after the start show the period. Two after the end show the
# power at that time.
RENEWALS_AT_EDGE = 2
# An unchanged reading is still recorded once per RECORD_S, to prove that it was read. A gauge counts as unread after
# `Gauge.unread_s` without a record, which is a few times RECORD_S.
RECORD_S = 1.0
UNREAD = "the power could not be read"


@dataclass
class Watch:
    """One sensor that is polled. `period_s`: the shortest time seen between two changes."""

    period_s: float | None = None
    _changes: int = 0
    _changed_s: float | None = None
    _last: Reading | None = None
    _recorded_s: float = float("-inf")
    _polls: int = 0

    def poll(self, when_s: float, raw: float) -> list[Reading]:
        """Add a reading; return those to record: at a change both readings around it, unless recorded already."""
        last, recorded = self._last, self._recorded_s
        self._last = (when_s, raw)
        self._polls += 1
        if last is None or last[1] == raw:
            if when_s - recorded < RECORD_S:
                return []
            self._recorded_s = when_s
            return [self._last]
        self._recorded_s = when_s
        if self._changed_s is not None:
            self.period_s = min(self.period_s or math.inf, when_s - self._changed_s)
        self._changes, self._changed_s = self._changes + 1, when_s
        return [self._last] if last[0] == recorded else [last, self._last]

    def sampled(self, when_s: float, raw: float) -> list[Reading]:
        """Add a reading that a sample records; return the one to record before it, as `poll` does."""
        frame = [reading for reading in self.poll(when_s, raw) if reading != (when_s, raw)]
        self._recorded_s = when_s
        return frame

    def begin_edge(self) -> None:
        """Restart the count of changes."""
        self._changes = self._polls = 0

    def has_changed(self, times: int) -> bool:
        """Whether it changed this number of times, or, because it does not tick at all, at each of several polls."""
        return self._changes >= times or (self._polls >= 3 and self._changes >= self._polls - 1)
