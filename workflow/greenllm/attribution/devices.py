"""The devices of one host, and the energy that their sensors counted in given intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.busy import host_busy
from greenllm.attribution.merging import Series, merge_busy, merge_counter, merge_integral, merge_readings
from greenllm.attribution.polled_power import polled_power
from greenllm.attribution.sharing import Energies, TermKey, stretches
from greenllm.attribution.ticking_counter import renewed
from greenllm.ledger.file import counter_columns
from greenllm.ledger.records import Identity, SensorRecord
from greenllm.meter.overlap import may_overlap, notice, repeated, show_one_counter


@dataclass
class Device:
    """A device as one method reads it. Its energy is Σ parameter · factor · growth of a basis.

    A basis is "counter" (the device's own, in joules after `unit`), "time" (s) or "busy" (the host's CPU seconds).
    """

    sensor: SensorRecord
    attempts: Sequence[Attempt]
    busy: Series
    spans: Sequence[tuple[float, float]] = ()  # when it was watched (CLOCK_MONOTONIC, s), in order
    repeated_by: Sequence[str] = ()  # names of other zones that show its counter

    @property
    def identity(self) -> Identity:
        """Component, device and method."""
        return self.sensor.identity

    @property
    def component(self) -> str:
        """gpu, cpu, dram or platform."""
        return self.sensor.component

    @property
    def measured(self) -> bool:
        """Whether a sensor measured it; otherwise a model computes its energy."""
        return self.sensor.quality == "measured"

    @cached_property
    def series(self) -> Series:
        """The counter, or the energy of the power shown, merged over all meters."""
        if self.sensor.gauge is not None:
            return polled_power(*merge_readings(self.attempts, self.sensor), self.sensor.gauge)
        counter = self.sensor.counter
        if counter is None:
            return Series(np.zeros(0), np.zeros(0))
        if not counter.shared:
            return merge_integral(self.attempts, self.sensor, counter)
        series = merge_counter(self.attempts, self.sensor, counter)
        if not counter.ticks:
            return series
        holders = [a for a in self.attempts if self.sensor.device in a.gpus and len(a.times)]
        return renewed(series, [edge_s for a in holders for edge_s in (a.first_s, a.last_s)])

    @property
    def unit(self) -> float:
        """Joules of one count of the series: of a counter, or of a gauge's counts over time."""
        if self.sensor.gauge is not None:
            return self.sensor.gauge.unit_W
        assert self.sensor.counter is not None
        return self.sensor.counter.unit_J

    def counted(self, start_s: float = -math.inf, end_s: float = math.inf) -> dict[str, float]:
        """Return {parameter: coefficient} of what it counted between two times (CLOCK_MONOTONIC, s) while watched."""
        return {
            parameter: math.fsum(growth[::2])
            for parameter, growth in self.growth(self._watched(start_s, end_s).ravel())
        }

    def known_s(self, start_s: float, end_s: float) -> float:
        """Return the seconds between two times (CLOCK_MONOTONIC) in which it was watched and its growth is known."""
        watched = self._watched(start_s, end_s)
        if self.sensor.uses("counter"):
            if not len(self.series.times):
                return 0.0
            watched = np.clip(watched, self.series.times[0], self.series.times[-1])
        unknown = [
            np.diff(np.clip(watched, gap.start_s, gap.end_s)).sum()
            for gap in self.series.unknown
            if gap.start_s < end_s and gap.end_s > start_s
        ]
        return float(np.diff(watched).sum() - sum(unknown))

    def doubt(self, start_s: float, end_s: float) -> str | None:
        """Return why its growth is unknown somewhere between two times (CLOCK_MONOTONIC, s); None where it is known."""
        return next((gap.reason for gap in self.series.unknown if gap.start_s < end_s and gap.end_s > start_s), None)

    def notices(self, start_s: float = -math.inf, end_s: float = math.inf) -> list[str]:
        """Return what a reader of its energy between two times (CLOCK_MONOTONIC, s) should know, a line for each."""
        notices = [notice(self.sensor.device, self.repeated_by)] if self.repeated_by else []
        if self.sensor.uses("busy"):
            doubts = (gap.reason for gap in self.busy.unknown if gap.start_s < end_s and gap.end_s > start_s)
            notices += dict.fromkeys(doubts)
        return notices

    def _watched(self, start_s: float, end_s: float) -> Array:
        """Return the spans in which it was watched between two times, as rows; one at least, if there is any at all."""
        # Only the spans there: with all of them, each job of a host would take time in proportion to all others.
        first = int(np.searchsorted(self._spans[:, 1], start_s, side="right"))
        last = int(np.searchsorted(self._spans[:, 0], end_s, side="left"))
        first = max(0, min(first, len(self._spans) - 1))
        return self._spans[first : max(last, first + 1)].clip(start_s, end_s)

    @cached_property
    def _spans(self) -> Array:
        return np.array(self.spans, dtype=float).reshape(-1, 2)

    def unseen_J(self, start_s: float, end_s: float) -> float:
        """Return the 95 % half-width in joules of the energy between two times, from what the readings leave open."""
        counts = sum(term.factor for term in self.sensor.terms if term.of == "counter")
        halfwidth = self.series.halfwidth(start_s, end_s) if counts else 0.0
        return counts * self.unit * halfwidth if halfwidth else 0.0

    def growth(self, edges: Array) -> Iterator[tuple[str, Array]]:
        """Yield (parameter, coefficient in each interval) for each term."""
        for term in self.sensor.terms:
            if term.of == "counter":
                basis = self.series.growth(edges) * self.unit
            else:
                basis = np.diff(edges) if term.of == "time" else self.busy.growth(edges)
            yield term.parameter, basis * term.factor

    def key(self, parameter: str) -> TermKey:
        """Return the key under which a term's energy is shared out."""
        return TermKey(*self.identity, parameter)


def devices_of(attempts: Sequence[Attempt]) -> list[Device]:
    """Return the readable devices of one host, each method of each device once, by the last attempt's description."""
    modelled = any(sensor.uses("busy") for a in attempts for sensor in a.sensors)
    cpus = max(a.start.cpus for a in attempts)
    busy = host_busy(attempts, cpus) if modelled else merge_busy(attempts)
    found: dict[Identity, Device] = {}
    for attempt in attempts:
        for sensor in attempt.sensors:
            if sensor.terms:
                device = Device(sensor, attempts, busy)
                found[device.identity] = device  # a calibration applies to earlier ledgers of the boot, too
    devices = _each_counter_once(list(found.values()))
    spans: dict[Identity, list[tuple[float, float]]] = {device.identity: [] for device in devices}
    for start_s, end_s, present in stretches(attempts):
        for device in watched(devices, present):
            own = spans[device.identity]
            own.append((own.pop()[0] if own and own[-1][1] == start_s else start_s, end_s))
    for device in devices:
        device.spans = spans[device.identity]
    return devices


def _each_counter_once(devices: Sequence[Device]) -> list[Device]:
    """Return the devices without those that show the counter of an earlier one (greenllm.meter.overlap)."""

    def one_counter(i: int, j: int) -> bool:
        one, other = devices[i], devices[j]
        if one.identity[::2] != other.identity[::2] or not may_overlap(one.sensor.counter, other.sensor.counter):
            return False
        return show_one_counter(*_agreement(one, other))

    first = repeated(len(devices), one_counter)
    for j, i in first.items():
        devices[i].repeated_by = [*devices[i].repeated_by, devices[j].sensor.device]
    return [device for i, device in enumerate(devices) if i not in first]


def _agreement(one: Device, other: Device) -> tuple[int, int]:
    """Return the number of samples with equal counts after either device had moved, and of all those after a move."""
    names = [counter_columns(*device.identity[:2])[1] for device in (one, other)]
    rows = [np.stack([a.columns[name] for name in names]) for a in one.attempts if a.columns.keys() >= set(names)]
    if not rows:
        return 0, 0
    counts = np.concatenate(rows, axis=1)
    counts = counts[:, np.isfinite(counts).all(axis=0)]
    moved = (np.diff(counts) != 0).any(axis=0)
    return int((moved & (counts[0, 1:] == counts[1, 1:])).sum()), int(moved.sum())


def watched(devices: Sequence[Device], present: Sequence[Attempt]) -> list[Device]:
    """Return the devices that the attempts present can read, each by one method; no models of what is measured."""
    readable = {s.identity for a in present for s in a.sensors if s.terms}
    there = [device for device in devices if device.identity in readable]
    measured = {device.component for device in there if device.measured}
    found: dict[tuple[str, str], Device] = {}
    for device in sorted(there, key=lambda one: one.sensor.gauge is not None):  # a counter misses nothing
        if device.measured or device.component not in measured:
            found.setdefault(device.identity[:2], device)
    return [device for device in there if found.get(device.identity[:2]) is device]


def energies_of(devices: Sequence[Device]) -> Energies:
    """Return the function from interval edges to each key's energy in each interval."""

    def energies(edges: Array) -> Mapping[TermKey, Array]:
        return {
            device.key(parameter): coefficient for device in devices for parameter, coefficient in device.growth(edges)
        }

    return energies
