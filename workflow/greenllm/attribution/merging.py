"""Merges what several meters read from one counter into one monotone series."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from greenllm.attribution.attempt import Array, Attempt
from greenllm.ledger.file import BUSY
from greenllm.ledger.records import Counter, SensorRecord
from greenllm.meter.counter_growth import JUMPED, STOOD, WRAPPED, silent

# The most that a device without `max_W` draws: twice the board power of a GPU of today.
HIGHEST_W = 2000.0


@dataclass(frozen=True)
class Unknown:
    """An interval (CLOCK_MONOTONIC, s) in which it is unknown how far a series grew, and why."""

    start_s: float
    end_s: float
    reason: str


@dataclass
class Series:
    """A growing quantity over time, linear between its readings; in `unknown` intervals nothing is counted."""

    times: Array
    values: Array
    unknown: list[Unknown] = field(default_factory=list)

    def growth(self, edges: Array) -> Array:
        """Return the growth between neighbouring edges; nothing grows outside the readings."""
        if not len(self.times):
            return np.zeros_like(edges[1:])
        return np.diff(np.interp(edges, self.times, self.values))

    def halfwidth(self, start_s: float, end_s: float) -> float:
        """Return the 95 % half-width of the growth between two times, from what the readings leave open."""
        return 0.0


def merge_readings(attempts: Sequence[Attempt], sensor: SensorRecord) -> tuple[Array, Array]:
    """Return all meters' readings of one sensor, in order of time. Attempts that lack the sensor are skipped."""
    readings = [a.readings(sensor) for a in attempts if _has(a, sensor)]
    times = np.concatenate([when for when, _ in readings]) if readings else np.zeros(0)
    raw = np.concatenate([values for _, values in readings]) if readings else np.zeros(0)
    order = np.lexsort((raw, times))
    return times[order], raw[order]


def merge_counter(attempts: Sequence[Attempt], sensor: SensorRecord, counter: Counter) -> Series:
    """Merge a counter that all meters share (RAPL, NVML) into one series of its unit, unwrapped."""
    times, raw = merge_readings(attempts, sensor)
    if len(times) < 2:
        return Series(times, np.zeros_like(times))
    wrap, limit_W = counter.wrap, counter.max_W
    steps, spans = np.diff(raw), np.diff(times)
    most = (spans + counter.stamp_s) * limit_W / counter.unit_J if limit_W else np.full_like(spans, np.inf)
    back = steps < 0
    tie = back & _ties(times, raw, (limit_W or HIGHEST_W) * counter.stamp_s / counter.unit_J, counter.stamp_s)
    if wrap:
        steps = np.where(back & ~tie, steps + wrap, steps)
        back = np.zeros_like(back)
    # A reset is recognised by the growth: more than `max_W` allows, also if the step back is taken for a wrap-around.
    jumped = (back & ~tie) | (steps > most)
    twice = ~jumped & (steps + wrap <= most) & bool(limit_W) if wrap else np.zeros_like(jumped)
    steps = np.where(jumped | twice, 0.0, steps)
    unknown = [
        Unknown(float(times[i]), float(times[i + 1]), JUMPED if jumped[i] else WRAPPED)
        for i in np.flatnonzero(jumped | twice)
    ]
    if counter.still_s:
        used_s = sum(float(cpu_s[-1] - cpu_s[0]) for a in attempts if len(cpu_s := a.series("cpu_s")[1]))
        moves = used_s < counter.still_cpu_s or np.diff(raw).any()
        unknown += _standstills(times, raw, counter.still_s if moves else 0.0)
        unknown.sort(key=lambda gap: gap.start_s)
    values = np.concatenate([[0.0], np.cumsum(steps)])
    return Series(times, np.maximum.accumulate(values), unknown)


def _standstills(times: Array, raw: Array, longest_s: float) -> list[Unknown]:
    """Return where a counter did not move for longer than a working one: it does not count there."""
    runs = [(float(times[start]), float(times[end])) for start, end in _runs(np.diff(raw) == 0)]
    return [Unknown(start, end, STOOD) for start, end in runs if end - start > longest_s]


def _ties(times: Array, raw: Array, small: float, stamp_s: float) -> npt.NDArray[np.bool_]:
    """Whether each step back is a tie: of two readings within `stamp_s`, the one stamped later was made earlier.

    The neighbouring readings distinguish a tie from a reset. After a tie, the previous reading is not above the step's
    end, or the next one is not below its begin. After a reset neither is true, unless the counter had hardly begun to
    count. So one of the two is enough for a `small` step, and any other step must fulfil both.
    """
    from_before = np.concatenate([[np.inf], raw[:-2]]) <= raw[1:]
    to_after = np.concatenate([raw[2:], [-np.inf]]) >= raw[:-1]
    made_up = np.where(np.abs(np.diff(raw)) <= small, from_before | to_after, from_before & to_after)
    close: npt.NDArray[np.bool_] = np.diff(times) < stamp_s
    return close & made_up


def merge_integral(attempts: Sequence[Attempt], sensor: SensorRecord, counter: Counter) -> Series:
    """Merge integrals that each meter began at its own zero (power from outside): the mean of their slopes.

    A meter does not count where the power was not read for longer than the counter's `silent_s`, or where its integral
    restarted. Where no meter counts, the growth is unknown.
    """
    readings = [a.readings(sensor) for a in attempts if _has(a, sensor)]
    readings = [(when, raw) for when, raw in readings if len(when) > 1]
    if not readings:
        return Series(np.zeros(0), np.zeros(0))
    longest_s = counter.silent_s or np.inf
    reason = silent(counter.silent_s) if counter.silent_s else JUMPED
    times = np.unique(np.concatenate([when for when, _ in readings]))
    growth, watchers = np.zeros(len(times) - 1), np.zeros(len(times) - 1)
    unread = np.zeros(len(times) - 1, dtype=bool)
    for when, raw in readings:
        first, last = np.searchsorted(times, [when[0], when[-1]])
        counts = np.ones(last - first, dtype=bool)
        for i in np.flatnonzero((np.diff(when) > longest_s) | (np.diff(raw) < 0)):
            counts[slice(*(np.searchsorted(times, when[i : i + 2]) - first))] = False
        growth[first:last] += np.where(counts, np.diff(np.interp(times[first : last + 1], when, raw)), 0.0)
        watchers[first:last] += counts
        unread[first:last] |= ~counts
    steps = np.maximum(0.0, growth / np.maximum(1, watchers))
    unknown = [
        Unknown(float(times[start]), float(times[end]), reason) for start, end in _runs(unread & (watchers == 0))
    ]
    return Series(times, np.concatenate([[0.0], np.cumsum(steps)]), unknown)


def _runs(chosen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the begin and the end (excluded) of each run of chosen places."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]])))
    return [(int(start), int(end)) for start, end in zip(changes[::2], changes[1::2], strict=True)]


def merge_busy(attempts: Sequence[Attempt]) -> Series:
    """Merge all meters' readings of the host's busy time (CPU seconds)."""
    readings = [a.series(BUSY) for a in attempts]
    times = np.concatenate([when for when, _ in readings])
    values = np.concatenate([busy for _, busy in readings])
    order = np.lexsort((values, times))
    return Series(times[order], np.maximum.accumulate(values[order]) if len(order) else values)


def _has(attempt: Attempt, sensor: SensorRecord) -> bool:
    return any(own.identity == sensor.identity and own.counts for own in attempt.sensors)
