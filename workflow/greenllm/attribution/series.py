"""Merges what several meters read from one counter into one monotone series."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from greenllm.attribution.attempt import Array, Attempt, identity_of

# Two meters read a counter at almost the same time, and the later time stamp may carry the earlier value. A step
# back within this time is such a tie, no reset and no wrap.
TIE_S = 0.05


@dataclass
class Series:
    """A growing quantity over time, linear between its readings. `resets`: intervals whose growth is unknown."""

    times: Array
    values: Array
    resets: list[tuple[float, float]] = field(default_factory=list)

    def growth(self, edges: Array) -> Array:
        """Return the growth between neighbouring edges; nothing grows outside the readings."""
        if not len(self.times):
            return np.zeros(len(edges) - 1)
        return np.diff(np.interp(edges, self.times, self.values))


def merge_counter(attempts: Sequence[Attempt], sensor: dict[str, Any]) -> Series:
    """Merge a counter that all meters share (RAPL, NVML) into one series of its unit, unwrapped, in order of time.

    Attempts that lack the sensor are passed over.
    """
    readings = [a.counter(sensor) for a in attempts if _has(a, sensor)]
    times = np.concatenate([when for when, _ in readings]) if readings else np.zeros(0)
    raw = np.concatenate([values for _, values in readings]) if readings else np.zeros(0)
    order = np.lexsort((raw, times))
    times, raw = times[order], raw[order]
    if len(times) < 2:
        return Series(times, np.zeros_like(times))
    steps, spans = np.diff(raw), np.diff(times)
    wrap = sensor["counter"].get("wrap")
    back = steps < 0
    tie = back & (spans < TIE_S) & ((np.abs(steps) < wrap / 2) if wrap else True)
    resets: list[tuple[float, float]] = []
    if wrap:
        steps = np.where(back & ~tie, steps + wrap, steps)
    else:
        resets = [(float(times[i]), float(times[i + 1])) for i in np.flatnonzero(back & ~tie)]
        steps = np.where(back & ~tie, 0.0, steps)
    values = np.concatenate([[0.0], np.cumsum(steps)])
    return Series(times, np.maximum.accumulate(values), resets)


def merge_integral(attempts: Sequence[Attempt], sensor: dict[str, Any]) -> Series:
    """Merge integrals that each meter began at a zero of its own (polled power): the mean of their slopes."""
    readings = [a.counter(sensor) for a in attempts if _has(a, sensor)]
    readings = [(when, raw) for when, raw in readings if len(when) > 1]
    if not readings:
        return Series(np.zeros(0), np.zeros(0))
    times = np.unique(np.concatenate([when for when, _ in readings]))
    growth, watchers = np.zeros(len(times) - 1), np.zeros(len(times) - 1)
    for when, raw in readings:
        first, last = np.searchsorted(times, [when[0], when[-1]])
        growth[first:last] += np.diff(np.interp(times[first : last + 1], when, raw))
        watchers[first:last] += 1
    steps = np.maximum(0.0, growth / np.maximum(1, watchers))
    return Series(times, np.concatenate([[0.0], np.cumsum(steps)]))


def merge_busy(attempts: Sequence[Attempt]) -> Series:
    """Merge the host's busy time (CPU seconds) as all meters read it."""
    readings = [a.series("busy_s") for a in attempts]
    times = np.concatenate([when for when, _ in readings])
    values = np.concatenate([busy for _, busy in readings])
    order = np.lexsort((values, times))
    return Series(times[order], np.maximum.accumulate(values[order]) if len(order) else values)


def _has(attempt: Attempt, sensor: dict[str, Any]) -> bool:
    return any(identity_of(own) == identity_of(sensor) and own.get("counter") for own in attempt.sensors)
