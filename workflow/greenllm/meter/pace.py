"""When the next sample is due, and how long the meter may sleep."""

import math
import os
import time
from collections.abc import Iterable

from greenllm.errors import UserError
from greenllm.meter.sensors import Sensor

VARIABLE = "GREENLLM_METER_INTERVAL_S"


class Pace:
    """Regular sampling times, `interval_s` seconds apart, from the moment that `begin` is called."""

    def __init__(self, interval_s: float | None = None) -> None:
        """`interval_s`: the time between samples (default: $GREENLLM_METER_INTERVAL_S, else 1).

        Raises UserError where it is bad.
        """
        self.interval_s = _interval_s(interval_s)
        self._next_s = math.inf

    def suit(self, sensors: Iterable[Sensor]) -> None:
        """Sample so often that no counter wraps unseen."""
        self.interval_s = min([self.interval_s, *map(_unambiguous_s, sensors)])

    def begin(self) -> None:
        """Count the time from now."""
        self._next_s = time.monotonic() + self.interval_s

    def is_due(self) -> bool:
        """Whether a sample is due."""
        return time.monotonic() >= self._next_s

    def advance(self) -> None:
        """The sample that was due is taken: go on to the next regular time, so a delayed meter samples in no burst."""
        late_s = time.monotonic() - self._next_s
        self._next_s += self.interval_s * (1 + max(0.0, late_s) // self.interval_s)

    def wait_s(self, poll_s: float | None) -> float:
        """Return the seconds until the next sample, or until sensors are polled, which they need each `poll_s`."""
        until_s = self._next_s - time.monotonic()
        if poll_s is not None:
            until_s = min(until_s, poll_s * _jitter())
        return max(0.0, until_s)


def _interval_s(given: float | None) -> float:
    name, value = "interval_s", str(given)
    if given is None:
        name = VARIABLE
        value = os.environ.get(name) or "1.0"
    try:
        interval_s = float(value)
    except ValueError:
        interval_s = 0.0
    if not 0.01 <= interval_s <= 3600:
        raise UserError(f"{name}={value}: expected seconds between 0.01 and 3600")
    return interval_s


def _unambiguous_s(sensor: Sensor) -> float:
    """Return the longest time between two readings, in seconds, after which the growth between them is still known.

    Within this time a counter wraps no more than once, and a power does not count as unread.
    """
    if sensor.gauge is not None:
        return sensor.gauge.unread_s / 2
    counter = sensor.counter
    if counter is not None and counter.silent_s is not None:
        return counter.silent_s / 2
    if counter is None or counter.wrap is None or counter.max_W is None:
        return math.inf
    return counter.wrap * counter.unit_J / counter.max_W / 2


def _jitter() -> float:
    """Return a factor near 1, so that polling does not synchronise with the sensor's refresh."""
    return 0.7 + 0.6 * os.urandom(1)[0] / 255
