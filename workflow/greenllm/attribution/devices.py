"""The devices of one host, and the energy that their sensors counted in given intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from greenllm.attribution.attempt import Array, Attempt, identity_of
from greenllm.attribution.busy import host_busy
from greenllm.attribution.merging import Series, merge_busy, merge_counter, merge_integral, merge_readings
from greenllm.attribution.polled_power import polled_power
from greenllm.attribution.sharing import Energies, stretches
from greenllm.attribution.ticking_counter import renewed
from greenllm.ledger.file import counter_columns
from greenllm.meter.overlap import may_overlap, notice, repeated, show_one_counter
from greenllm.meter.sensors import Counter


@dataclass
class Device:
    """A device as one method reads it. Its energy is Σ parameter · factor · growth of a basis.

    A basis is "counter" (the device's own, in joules after `unit`), "time" (s) or "busy" (the host's CPU seconds).
    """

    sensor: dict[str, Any]
    attempts: Sequence[Attempt]
    busy: Series
    spans: Sequence[tuple[float, float]] = ()  # when it was watched (CLOCK_MONOTONIC, s), in order
    repeated_by: Sequence[str] = ()  # other devices that show its counter, and so are none of their own

    @property
    def identity(self) -> tuple[str, str, str]:
        """Component, device and method: what tells devices apart."""
        return identity_of(self.sensor)

    @property
    def component(self) -> str:
        """gpu, cpu, dram or platform."""
        return str(self.sensor["component"])

    @property
    def measured(self) -> bool:
        """Whether a sensor measured it, or a model stands in."""
        return bool(self.sensor["quality"] == "measured")

    @cached_property
    def series(self) -> Series:
        """The counter, or the energy of the power shown, merged over all meters."""
        if gauge := self.sensor.get("gauge"):
            return polled_power(*merge_readings(self.attempts, self.sensor), float(gauge.get("mean_s", 0.0)))
        counter = self.sensor.get("counter")
        if not counter:
            return Series(np.zeros(0), np.zeros(0))
        if not counter.get("shared", True):
            return merge_integral(self.attempts, self.sensor)
        series = merge_counter(self.attempts, self.sensor)
        if not counter.get("ticks"):
            return series
        holders = [a for a in self.attempts if self.sensor["device"] in a.gpus and len(a.times)]
        return renewed(series, [edge_s for a in holders for edge_s in (a.first_s, a.last_s)])

    @property
    def counter(self) -> Counter | None:
        """Its counter's scale; None where it has none."""
        counter = self.sensor.get("counter")
        return Counter(**{f.name: counter[f.name] for f in fields(Counter) if f.name in counter}) if counter else None

    @property
    def unit(self) -> float:
        """Joules of one count of the series: of a counter, or of a gauge's counts over time."""
        if gauge := self.sensor.get("gauge"):
            return float(gauge["unit_W"])
        return float(self.sensor["counter"]["unit_J"])

    def counted(self, start_s: float = -math.inf, end_s: float = math.inf) -> dict[str, float]:
        """Return {parameter: coefficient} of what it counted between two times (CLOCK_MONOTONIC, s) while watched."""
        return {
            parameter: math.fsum(growth[::2])
            for parameter, growth in self.growth(self._watched(start_s, end_s).ravel())
        }

    def known_s(self, start_s: float, end_s: float) -> float:
        """Return for how long between two times (CLOCK_MONOTONIC, s) it was watched and its growth is known."""
        watched = self._watched(start_s, end_s)
        if "counter" in {term["of"] for term in self.sensor["terms"]}:
            if not len(self.series.times):
                return 0.0
            watched = np.clip(watched, self.series.times[0], self.series.times[-1])
        unknown = [np.diff(np.clip(watched, gap.start_s, gap.end_s)).sum() for gap in self.series.unknown]
        return float(np.diff(watched).sum() - sum(unknown))

    def doubt(self, start_s: float, end_s: float) -> str | None:
        """Return why its growth is unknown somewhere between two times (CLOCK_MONOTONIC, s); None where it is known."""
        return next((gap.reason for gap in self.series.unknown if gap.start_s < end_s and gap.end_s > start_s), None)

    def notices(self, start_s: float = -math.inf, end_s: float = math.inf) -> list[str]:
        """Return what else is to be said of its energy between two times (CLOCK_MONOTONIC, s), a line for each."""
        said = [notice(self.identity[1], self.repeated_by)] if self.repeated_by else []
        if "busy" in {term["of"] for term in self.sensor["terms"]}:
            doubts = (gap.reason for gap in self.busy.unknown if gap.start_s < end_s and gap.end_s > start_s)
            said += dict.fromkeys(doubts)
        return said

    def _watched(self, start_s: float, end_s: float) -> Array:
        """Return the spans in which it was watched between two times, as rows."""
        spans: Array = np.array(self.spans, dtype=float).reshape(-1, 2)
        return spans.clip(start_s, end_s)

    def unseen_J(self, start_s: float, end_s: float) -> float:
        """Return the 95 % half-width in joules of the energy between two times, for what the readings leave open."""
        counts = sum(float(term["factor"]) for term in self.sensor["terms"] if term["of"] == "counter")
        halfwidth = self.series.halfwidth(start_s, end_s) if counts else 0.0
        return counts * self.unit * halfwidth if halfwidth else 0.0

    def growth(self, edges: Array) -> Iterator[tuple[str, Array]]:
        """Yield (parameter, coefficient in each interval) for each term."""
        for term in self.sensor["terms"]:
            if term["of"] == "counter":
                basis = self.series.growth(edges) * self.unit
            elif term["of"] == "time":
                basis = np.diff(edges)
            elif term["of"] == "busy":
                basis = self.busy.growth(edges)
            else:
                raise ValueError(f"unknown basis {term['of']!r} in a ledger's sensor {self.identity}")
            yield str(term["parameter"]), basis * float(term["factor"])

    def key(self, parameter: str) -> str:
        """Return the key under which a term's energy is shared out."""
        return "\t".join((*self.identity, parameter))


def devices_of(attempts: Sequence[Attempt]) -> list[Device]:
    """Return the readable devices of one host, each method of each device once, as the last attempt describes it."""
    modelled = any(term["of"] == "busy" for a in attempts for sensor in a.sensors for term in sensor["terms"])
    cpus = max(int(a.start["cpus"]) for a in attempts)
    busy = host_busy(attempts, cpus) if modelled else merge_busy(attempts)
    found: dict[tuple[str, str, str], Device] = {}
    for attempt in attempts:
        for sensor in attempt.sensors:
            if sensor["terms"]:
                device = Device(sensor, attempts, busy)
                found[device.identity] = device  # a calibration reaches back over the boot's ledgers
    devices = _each_counter_once(list(found.values()))
    spans: dict[tuple[str, str, str], list[tuple[float, float]]] = {device.identity: [] for device in devices}
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
        if one.identity[::2] != other.identity[::2] or not may_overlap(one.counter, other.counter):
            return False
        return show_one_counter(*_agreement(one, other))

    first = repeated(len(devices), one_counter)
    for j, i in first.items():
        devices[i].repeated_by = [*devices[i].repeated_by, devices[j].identity[1]]
    return [device for i, device in enumerate(devices) if i not in first]


def _agreement(one: Device, other: Device) -> tuple[int, int]:
    """Return in how many samples either device had moved and both showed equal counts; and in how many it had."""
    names = [counter_columns(*device.identity[:2])[1] for device in (one, other)]
    rows = [np.stack([a.columns[name] for name in names]) for a in one.attempts if a.columns.keys() >= set(names)]
    if not rows:
        return 0, 0
    counts = np.concatenate(rows, axis=1)
    counts = counts[:, np.isfinite(counts).all(axis=0)]
    moved = (np.diff(counts) != 0).any(axis=0)
    return int((moved & (counts[0, 1:] == counts[1, 1:])).sum()), int(moved.sum())


def watched(devices: Sequence[Device], present: Sequence[Attempt]) -> list[Device]:
    """Return the devices that the attempts present can read; no model where the component is measured."""
    readable = {identity_of(s) for a in present for s in a.sensors if s["terms"]}
    there = [device for device in devices if device.identity in readable]
    measured = {device.component for device in there if device.measured}
    return [device for device in there if device.measured or device.component not in measured]


def energies_of(devices: Sequence[Device]) -> Energies:
    """Return the function from interval edges to each key's energy in each interval."""

    def energies(edges: Array) -> Mapping[str, Array]:
        return {
            device.key(parameter): coefficient for device in devices for parameter, coefficient in device.growth(edges)
        }

    return energies
