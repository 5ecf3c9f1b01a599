"""One attempt's energy, by component."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.devices import Device
from greenllm.attribution.hosts import HostEnergy
from greenllm.estimate import Estimate, Parameter, total, unseen
from greenllm.ledger.energy_log import SUMMED, Component, summed
from greenllm.ledger.file import memory_column
from greenllm.ledger.records import SensorRecord
from greenllm.meter.usage import MemoryUse
from greenllm.timestamps import rfc3339

# Where the energy of a smaller share of a time is known, the rest is more than the error of sensors.
LEAST_COVERAGE = 0.95


@dataclass(frozen=True)
class JobEnergy:
    """One attempt's own energy, without that of the meters inside it."""

    attempt: Attempt
    components: Sequence[Component]
    waste: str | None
    children: Sequence["JobEnergy"] = ()

    @property
    def id(self) -> str:
        """The attempt's id."""
        return self.attempt.id

    @property
    def status(self) -> str:
        """running, succeeded, failed, killed or lost."""
        return self.attempt.status

    @property
    def parent(self) -> str | None:
        """The id of the meter around it."""
        return self.attempt.parent

    @property
    def run_id(self) -> str | None:
        """The invocation of the workflow, or of the meter alone."""
        return self.attempt.start.run_id

    @property
    def host(self) -> str:
        """The name of its host."""
        return self.attempt.start.host

    @property
    def rule(self) -> str | None:
        """The workflow's rule."""
        return self.attempt.start.job.rule

    @property
    def wildcards(self) -> Mapping[str, Any]:
        """The rule's wildcards, by name."""
        return self.attempt.start.job.wildcards

    @property
    def number(self) -> int | None:
        """Which attempt at its job it is, from 1; None where the workflow did not say."""
        return self.attempt.start.job.attempt

    @property
    def started(self) -> str:
        """When it began (RFC 3339)."""
        return self.attempt.start.started or rfc3339(self.attempt.start.wall_s or 0.0)

    @property
    def ended(self) -> str | None:
        """When it ended, or was last seen (RFC 3339); None while it runs."""
        if self.attempt.end is not None and self.attempt.end.ended is not None:
            return self.attempt.end.ended
        if self.ended_s is None or self.status == "running":
            return None
        return rfc3339(self.ended_s + self.attempt.wall_offset_s)

    @property
    def exit_code(self) -> int | None:
        """The command's exit status; None where it did not end."""
        return self.attempt.end.exit_code if self.attempt.end else None

    @property
    def work(self) -> Mapping[str, Any]:
        """The amounts of work that the job reported, by unit."""
        return self.attempt.end.work if self.attempt.end else {}

    @property
    def energy(self) -> Estimate | None:
        """gpu + cpu + dram, in joules; None where none of them could be read."""
        return summed(self.components)

    @property
    def energy_with_children(self) -> Estimate | None:
        """The attempt's energy and that of all meters inside it."""
        inside = [self.energy, *(child.energy_with_children for child in self.children)]
        known = [energy for energy in inside if energy is not None]
        return total(known) if known else None

    @property
    def elsewhere(self) -> Sequence["JobEnergy"]:
        """The meters inside it on other hosts: each is a part of a job on several hosts."""
        return [child for child in self.children if child.attempt.boot_id != self.attempt.boot_id]

    @property
    def on_all_hosts(self) -> Sequence["JobEnergy"]:
        """The attempt itself and its meters on other hosts."""
        return [self, *self.elsewhere]

    @property
    def energy_on_all_hosts(self) -> Estimate | None:
        """Its own energy and that of its meters on other hosts (J); None where one of them is unknown."""
        energies = [part.energy for part in self.on_all_hosts]
        known = [energy for energy in energies if energy is not None]
        return total(known) if len(known) == len(energies) else None

    @property
    def partial(self) -> bool:
        """Whether a component could not be read."""
        return any(c.energy is None for c in self.components)

    @property
    def awaits_readings(self) -> bool:
        """Whether it runs and was not read twice yet: nothing of it is counted so far, so nothing of it is unknown."""
        return self.status == "running" and len(self.attempt.times) < 2

    @property
    def unknown(self) -> list[str]:
        """Which components have no energy, or only for a part of the time, with the reason.

        Not where another method replaced an unreadable sensor.
        """
        if self.awaits_readings:
            return []
        parts = [c for c in self.components if c.component in SUMMED]
        known = {c.component for c in parts if c.energy is not None}
        return [
            f"{c.component}: {c.reason}"
            for c in parts
            if c.energy is None and (c.component == "gpu" or c.component not in known)
        ] + [
            f"{component}: its energy is known for {100 * share:.0f} % of the time alone"
            + "".join(f" ({c.reason})" for c in parts if c.component == component and c.coverage < 1 and c.reason)
            for component, share in self._covered.items()
            if share < LEAST_COVERAGE
        ]

    @property
    def unused(self) -> list[str]:
        """The GPUs that it held and never used."""
        return [c.device for c in self.components if c.used is False]

    @property
    def coverage(self) -> float:
        """Smallest share of the attempt's time covered by any component that has an energy."""
        return min(self._covered.values(), default=1.0)

    @property
    def _covered(self) -> dict[str, float]:
        return covered(
            (part.component, part.quality, part.coverage)
            for part in self.components
            if part.component in SUMMED and part.energy is not None
        )

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds of the attempt's process tree, children's meters included."""
        _, values = self.attempt.series("cpu_s")
        last = float(values[-1]) if len(values) else None
        final = self.attempt.end.cpu_s if self.attempt.end else None
        return last if final is None else max(final, last or 0.0)

    @property
    def ended_s(self) -> float | None:
        """When it ended, or was last seen (CLOCK_MONOTONIC, s)."""
        if self.attempt.end is not None and self.attempt.end.monotonic_s is not None:
            return self.attempt.end.monotonic_s
        return self.attempt.last_s if len(self.attempt.times) else None

    def to_json(self) -> dict[str, Any]:
        """Return the job as `greenllm attribute --json` prints it."""
        start, began_s = self.attempt.start, self.attempt.start.monotonic_s
        own, whole = self.energy, self.energy_with_children
        return {
            "id": self.id,
            "parent": self.parent,
            "run_id": self.run_id,
            "host": self.host,
            "boot_id": start.boot_id,
            "rule": self.rule,
            "wildcards": self.wildcards,
            "attempt": self.number,
            "status": self.status,
            "waste": self.waste,
            "exit_code": self.exit_code,
            "config_hash": start.config_hash,
            "started": start.started,
            "ended": self.ended,
            "duration_s": None if self.ended_s is None or began_s is None else self.ended_s - began_s,
            "cpu_s": self.cpu_s,
            "threads": start.threads,
            "gpus": [asdict(gpu) for gpu in start.gpus],
            "reserved_cpus": start.reserved_cpus,
            "reserved_memory_B": start.reserved_memory_B,
            "ledger": self.attempt.path,
            "damaged_lines": self.attempt.corrupt_lines,
            "energy_J": None if own is None else own.to_json(),
            "energy_with_children_J": None if whole is None else whole.to_json(),
            "partial": self.partial,
            "components": [component.to_json() for component in self.components],
            "work": self.work,
        }


def covered(devices: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Return the share of a time in which each component's energy is known, by component, quality and share of devices.

    At any time a component's energy comes either from its sensors or from the model, so their shares add up.
    """
    least: dict[tuple[str, str], float] = {}
    for component, quality, share in devices:
        least[component, quality] = min(least.get((component, quality), 1.0), share)
    whole: dict[str, float] = {}
    for (component, _), share in least.items():
        whole[component] = whole.get(component, 0.0) + share
    return whole


def components_of(
    host: HostEnergy, attempt: Attempt, parameters: Mapping[str, Parameter], names: Mapping[str, str]
) -> list[Component]:
    """Return an attempt's part of each device that was shared out to it, whichever meter read it.

    Its own sensors that no meter could read follow, without an energy. `names` renames the host's parameters.
    """
    found = []
    energies = host.shares.jobs.get(attempt.id, {})
    for device in host.devices:
        terms = {
            names.get(parameter, parameter): energies[device.key(parameter)]
            for parameter in (term.parameter for term in device.sensor.terms)
            if device.key(parameter) in energies
        }
        if terms:  # without terms: another job's GPU, or a model that was not applied
            energy = Estimate(terms, {name: parameters[name] for name in terms})
            counted_J = math.fsum(
                coefficient * parameters[names.get(parameter, parameter)].value
                for parameter, coefficient in device.counted(attempt.first_s, attempt.last_s).items()
            )
            found.append(_component(attempt, device, energy, counted_J))
    return [*found, *(_unread(attempt, sensor) for sensor in attempt.sensors if _concerns(attempt, sensor, found))]


def _component(attempt: Attempt, device: Device, energy: Estimate, counted_J: float) -> Component:
    """Return an attempt's part of a device that counted `counted_J` meanwhile."""
    component, name, method = device.identity
    own = next((sensor for sensor in attempt.sensors if sensor.identity == device.identity), device.sensor)
    coverage = _coverage(attempt, device)
    share = energy.value / counted_J if counted_J > 0 else None
    reason = own.reason if own.terms else device.sensor.reason
    if coverage < 1 and not reason:
        reason = _trouble(attempt, device.sensor) or device.doubt(attempt.first_s, attempt.last_s)
    notices = device.notices(attempt.first_s, attempt.last_s)
    reason = "; ".join([*([reason] if reason else []), *(n for n in notices if n not in (reason or ""))]) or None
    read = coverage > 0 or any(energy.terms.values())
    if read and (halfwidth_J := device.unseen_J(attempt.first_s, attempt.last_s)):
        energy += unseen(attempt.id, name, halfwidth_J * (share or 0.0))
    return Component(
        component,
        attempt.start.host,
        name,
        energy if read else None,
        reason if read or reason else "no two readings of it succeeded",
        method,
        device.sensor.quality,
        share if read else None,
        coverage,
        _used(attempt, name) if component == "gpu" else None,
    )


def _used(attempt: Attempt, gpu: str) -> bool | None:
    """Whether something computed on a GPU while the attempt held it; None where its ledger does not say."""
    readings_B = attempt.columns.get(memory_column(gpu))
    return None if readings_B is None else MemoryUse.of(readings_B.tolist()).used


def _concerns(attempt: Attempt, sensor: SensorRecord, found: Sequence[Component]) -> bool:
    """Whether the attempt's energy lacks this sensor's part; `found` are the components that have one."""
    if sensor.component == "gpu" and sensor.terms and sensor.device not in attempt.gpus:
        return False  # another job's, or no job's
    if sensor.component == "gpu" and not sensor.terms and not attempt.start.gpus_requested:
        return False  # unreadable, but the job asked for no GPU
    if sensor.terms and len(attempt.times) > 1:
        return False  # it counted; or it is another holder's, or a model where a sensor measures
    same = [part for part in found if part.component == sensor.component]
    return not any(
        part.device == sensor.device or (part.quality, sensor.quality) == ("measured", "modelled") for part in same
    )


def _unread(attempt: Attempt, sensor: SensorRecord) -> Component:
    component, name, method = sensor.identity
    unsampled = "not sampled twice yet" if attempt.status == "running" else "ended before it could be sampled twice"
    reason = sensor.reason or _trouble(attempt, sensor) or unsampled
    return Component(component, attempt.start.host, name, None, reason, method, sensor.quality, None, 0.0)


def _coverage(attempt: Attempt, device: Device) -> float:
    """The part of an attempt's time in which it was sampled, and its energy from the device is known."""
    began_s, ended_s = attempt.start.monotonic_s, attempt.end.monotonic_s if attempt.end else None
    began_s = attempt.first_s if began_s is None else began_s
    ended_s = attempt.last_s if ended_s is None else ended_s
    known_s = device.known_s(max(began_s, attempt.first_s), min(ended_s, attempt.last_s))
    return min(1.0, max(0.0, known_s / (ended_s - began_s))) if ended_s > began_s else 0.0


def _trouble(attempt: Attempt, sensor: SensorRecord) -> str | None:
    """Why readings of a sensor failed, as its meter's end record says."""
    for component in attempt.end.components if attempt.end else ():
        if (component.get("component"), component.get("device")) == (sensor.component, sensor.device):
            return str(component["reason"]) if component.get("reason") else None
    return None
