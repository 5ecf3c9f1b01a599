"""Watches readings that are renewed only now and then, and keeps those that frame a change.

Whoever reads a counter that ticks ten times a second is up to a tenth of a second late. Between the last reading of one
value and the first of the next it was renewed; attribution finds the instants from such pairs.
"""

import math
from dataclasses import dataclass

Reading = tuple[float, float]  # CLOCK_MONOTONIC in s, raw

# A card renews what it shows every 10 to 100 ms (arXiv 2312.02741); a counter that does not within this time stands
# still. How often it is looked at meanwhile: less than the shortest period, more than a call of NVML takes.
RENEWAL_S, LOOK_S = 0.3, 0.005
# How long a job's edge is looked at: two renewals after the start tell the period, two after the end the power then.
RENEWALS_AT_EDGE = 2
# The usual refresh period of a card, and the part of it that the power shown is the mean of (same source: A100, H100).
# A card that averages more of it gets an interval that is too wide; a mean of a longer time is told apart (`mean_s`).
USUAL_S, WINDOW_PART = 0.1, 0.25
# What does not change is recorded so often all the same: that it was read. A gauge that was not for longer than a few
# times that was not seen; what it would have shown is unknown.
RECORD_S, UNREAD_S = 1.0, 3.0
UNREAD = "the power could not be read"


@dataclass
class Watch:
    """One sensor under watch. `period_s`: the shortest time between two changes that it was seen to make."""

    period_s: float | None = None
    _changes: int = 0
    _changed_s: float | None = None
    _last: Reading | None = None
    _recorded_s: float = float("-inf")
    _looks: int = 0

    def look(self, when_s: float, raw: float) -> list[Reading]:
        """Take in a reading; return those to record: where it differs from the last one, both, if not recorded yet."""
        last, recorded = self._last, self._recorded_s
        self._last = (when_s, raw)
        self._looks += 1
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
        """Take in a reading that a sample records; return the one to record before it, as `look` does."""
        frame = [reading for reading in self.look(when_s, raw) if reading != (when_s, raw)]
        self._recorded_s = when_s
        return frame

    def begin_edge(self) -> None:
        """Count changes anew."""
        self._changes = self._looks = 0

    def has_changed(self, times: int) -> bool:
        """Whether it was seen to change so often, or, since it does not tick at all, at each of several looks."""
        return self._changes >= times or (self._looks >= 3 and self._changes >= self._looks - 1)
