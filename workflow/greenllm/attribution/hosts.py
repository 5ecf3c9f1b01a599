"""One host: its devices, and the shares of their energy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.devices import Device, devices_of, energies_of, watched
from greenllm.attribution.gpus import share_gpus
from greenllm.attribution.memory import known
from greenllm.attribution.merging import Series, Unknown
from greenllm.attribution.sharing import SharedEnergies, Shares, TermKey, share_out, stretches
from greenllm.timestamps import rfc3339

# Reading all sensors takes less time: a gap between two jobs may overlap them by this much (s).
READING_S = 0.1


@dataclass(frozen=True)
class Gap:
    """A time in which nothing is counted, and why: of one device, or of all where no meter ran (`device` None)."""

    started: str  # RFC 3339
    ended: str
    duration_s: float
    device: str | None
    reason: str


@dataclass
class HostEnergy:
    """One boot of one host: what its sensors counted, and the shares of it, by term."""

    attempts: Sequence[Attempt]
    devices: Sequence[Device]
    counted: dict[TermKey, float]
    shares: Shares
    gaps: list[Gap]

    @property
    def boot_id(self) -> str:
        """The boot of its kernel."""
        return self.attempts[0].boot_id

    @property
    def name(self) -> str:
        """The host's name; several hosts may have the same one."""
        return self.attempts[0].start.host

    def without_samples(self) -> "HostEnergy":
        """Return the same without the data for jobs' courses, in a fiftieth of the memory."""
        attempts = [attempt.without_samples_between() for attempt in self.attempts]
        nothing = np.zeros(0)
        devices = [
            replace(device, attempts=(), spans=(), busy=Series(nothing, nothing, device.busy.unknown))
            for device in self.devices
        ]
        return replace(self, attempts=attempts, devices=devices, shares=replace(self.shares, course={}))


def attribute_host(attempts: Sequence[Attempt], policy: str) -> HostEnergy:
    """Attribute what the sensors of one boot of a host counted."""
    devices = devices_of(attempts)
    shared = [device for device in devices if device.component != "gpu"]
    gpus = [device for device in devices if device.component == "gpu"]
    cpus = max(a.start.cpus for a in attempts)
    shares = share_out(attempts, cpus, lambda present: _shared_energies(watched(shared, present), present), policy)
    shares.merge(share_gpus(attempts, gpus))
    # from the devices' own series, independent of the shares
    counted = {device.key(parameter): energy for device in devices for parameter, energy in device.counted().items()}
    return HostEnergy(attempts, devices, counted, shares, _gaps(attempts, devices))


def _shared_energies(devices: Sequence[Device], present: Sequence[Attempt]) -> SharedEnergies:
    """Return what devices count, by what shares it: memory by memory where its use is known, the others by CPU time."""
    memory_is_known = known(present)
    by_memory = [device for device in devices if memory_is_known and device.component == "dram"]
    by_processors = [device for device in devices if not memory_is_known or device.component != "dram"]
    return SharedEnergies(
        energies_of(by_processors) if by_processors else None, energies_of(by_memory) if by_memory else None
    )


def _gaps(attempts: Sequence[Attempt], devices: Sequence[Device]) -> list[Gap]:
    """Return the times without a meter, and those in which the growth of a device's counter is unknown."""
    offset = next((a.wall_offset_s for a in attempts if len(a.times)), 0.0)
    unwatched = [(start, end) for start, end, present in stretches(attempts) if not present]
    gaps: list[tuple[float, float, str | None, str]] = [
        (start, end, None, "no meter was running") for start, end in unwatched
    ]
    for device in devices:
        for gap in device.series.unknown:
            watched_s = gap.end_s - gap.start_s - sum(_overlap_s(gap, start, end) for start, end in unwatched)
            if watched_s > READING_S:
                gaps.append((gap.start_s, gap.end_s, device.sensor.device, gap.reason))
    return [
        Gap(rfc3339(start + offset), rfc3339(end + offset), end - start, device_name, reason)
        for start, end, device_name, reason in sorted(gaps, key=lambda gap: gap[:2])
    ]


def _overlap_s(gap: Unknown, start_s: float, end_s: float) -> float:
    return max(0.0, min(gap.end_s, end_s) - max(gap.start_s, start_s))
