"""The devices of one host, and the energy that their sensors counted in given intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from greenllm.attribution.attempt import Array, Attempt, identity_of
from greenllm.attribution.series import Series, merge_busy, merge_counter, merge_integral
from greenllm.attribution.sharing import Energies


@dataclass
class Device:
    """A device as one method reads it. Its energy is Σ parameter · factor · growth of a basis.

    A basis is "counter" (the device's own, in joules after `unit_J`), "time" (s) or "busy" (the host's CPU seconds).
    """

    sensor: dict[str, Any]
    attempts: Sequence[Attempt]
    busy: Series

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
        """The counter, merged over all meters."""
        if not self.sensor.get("counter"):
            return Series(np.zeros(0), np.zeros(0))
        merge = merge_counter if self.sensor["counter"].get("shared", True) else merge_integral
        return merge(self.attempts, self.sensor)

    def growth(self, edges: Array) -> Iterator[tuple[str, Array]]:
        """Yield (parameter, coefficient in each interval) for each term."""
        for term in self.sensor["terms"]:
            if term["of"] == "counter":
                basis = self.series.growth(edges) * float(self.sensor["counter"]["unit_J"])
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
    """Return the readable devices of one host, each method of each device once."""
    busy = merge_busy(attempts)
    found: dict[tuple[str, str, str], Device] = {}
    for attempt in attempts:
        for sensor in attempt.sensors:
            if sensor["terms"]:
                device = Device(sensor, attempts, busy)
                found.setdefault(device.identity, device)
    return list(found.values())


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
