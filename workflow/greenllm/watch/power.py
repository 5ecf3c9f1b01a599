"""The power of hosts and jobs in the last seconds that meters sampled, from what is known there."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from greenllm.attribution.devices import watched
from greenllm.attribution.hosts import HostEnergy
from greenllm.attribution.jobs import JobEnergy
from greenllm.attribution.result import Attribution
from greenllm.estimate import Estimate, Interval
from greenllm.ledger.energy_log import SUMMED

# Power is the mean over this time (s) before the last sample.
WINDOW_S = 10.0


class HostPower(NamedTuple):
    """The power of a host, and the qualities of what it rests on (`measured`, `modelled`); None where it is unknown."""

    power_W: Interval | None = None
    qualities: Sequence[str] = ()


def host_power(host: HostEnergy, running: Collection[str], energies: Attribution) -> HostPower:
    """Return the power of all that the `running` attempts (ids) read on a host, idle included.

    Each device has its mean power over that part of the time for which it is known. Where one is not known at all, the
    host's power is unknown.
    """
    sampled = [one for one in host.attempts if one.id in running and len(one.times) > 1]
    if not sampled:
        return HostPower()
    end_s = max(one.last_s for one in sampled)
    start_s = max(min(one.first_s for one in sampled), end_s - WINDOW_S)
    names = energies.names.get(host.boot_id, {})
    terms: dict[str, float] = {}
    qualities = set()
    for device in watched(host.devices, [one for one in host.attempts if one.id in running]):
        if device.component not in SUMMED:
            continue
        known_s = device.known_s(start_s, end_s)
        if known_s <= 0:
            return HostPower()
        counted = device.counted(start_s, end_s)
        for parameter, coefficient in counted.items():
            name = names.get(parameter, parameter)
            terms[name] = terms.get(name, 0.0) + coefficient / known_s
        if any(counted.values()):
            qualities.add(device.sensor.quality)
    return HostPower(Estimate(terms, energies.parameters).interval(), sorted(qualities)) if terms else HostPower()


def job_power_W(job: JobEnergy, energies: Attribution) -> float | None:
    """Return a running job's own power (W); None where it is unknown, in part or in all of the time."""
    if len(job.attempt.times) < 2:
        return None
    end_s = job.attempt.last_s
    start_s = max(job.attempt.first_s, end_s - WINDOW_S)
    energy = energies.energy_between(job.id, start_s, end_s)
    return None if energy is None else energy.value / (end_s - start_s)
