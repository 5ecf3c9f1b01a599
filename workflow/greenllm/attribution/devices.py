"""The devices of one host, and the energy that their sensors counted in given intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from greenllm.attribution.attempt import Array, Attempt, identity_of
from greenllm.attribution.polled import polled_power
from greenllm.attribution.series import Series, merge_busy, merge_counter, merge_integral, merge_readings
from greenllm.attribution.sharing import Energies, stretches
from greenllm.attribution.ticking import renewed


@dataclass
class Device:
    """A device as one method reads it. Its energy is Σ parameter · factor · growth of a basis.

    A basis is "counter" (the device's own, in joules after `unit`), "time" (s) or "busy" (the host's CPU seconds).
    """

    sensor: dict[str, Any]
    attempts: Sequence[Attempt]
    busy: Series
    spans: Sequence[tuple[float, float]] = ()  # when it was watched (CLOCK_MONOTONIC, s), in order

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
    busy = merge_busy(attempts)
    found: dict[tuple[str, str, str], Device] = {}
    for attempt in attempts:
        for sensor in attempt.sensors:
            if sensor["terms"]:
                device = Device(sensor, attempts, busy)
                found[device.identity] = device  # a calibration reaches back over the boot's ledgers
    devices = list(found.values())
    spans: dict[tuple[str, str, str], list[tuple[float, float]]] = {identity: [] for identity in found}
    for start_s, end_s, present in stretches(attempts):
        for device in watched(devices, present):
            own = spans[device.identity]
            own.append((own.pop()[0] if own and own[-1][1] == start_s else start_s, end_s))
    for device in devices:
        device.spans = spans[device.identity]
    return devices


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
