"""One attempt's energy, by component."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.attribution.attempt import Attempt, identity_of
from greenllm.attribution.devices import Device
from greenllm.attribution.hosts import HostEnergy
from greenllm.estimate import Estimate, Parameter, total, unseen
from greenllm.ledger.component import SUMMED, Component
from greenllm.ledger.file import memory_column
from greenllm.meter.usage import MemoryUse
from greenllm.timestamps import rfc3339


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
        run_id: str | None = self.attempt.start.get("run_id")
        return run_id

    @property
    def host(self) -> str:
        """The name of the host."""
        return str(self.attempt.start["host"])

    @property
    def rule(self) -> str | None:
        """The workflow's rule."""
        rule: str | None = self.attempt.start["job"].get("rule")
        return rule

    @property
    def wildcards(self) -> Mapping[str, str]:
        """The rule's wildcards, by name."""
        wildcards: Mapping[str, str] = self.attempt.start["job"].get("wildcards", {})
        return wildcards

    @property
    def number(self) -> int | None:
        """Which attempt at its job it is, from 1; None where the workflow did not say."""
        number: int | None = self.attempt.start["job"].get("attempt")
        return number

    @property
    def started(self) -> str:
        """When it began (RFC 3339)."""
        return str(self.attempt.start.get("started") or rfc3339(float(self.attempt.start.get("wall_s", 0.0))))

    @property
    def ended(self) -> str | None:
        """When it ended, or was last seen (RFC 3339); None while it runs."""
        ended: str | None = (self.attempt.end or {}).get("ended")
        if ended is None and self.ended_s is not None and self.status != "running":
            return rfc3339(self.ended_s + self.attempt.wall_offset_s)
        return ended

    @property
    def exit_code(self) -> int | None:
        """The command's exit status; None where it did not end."""
        exit_code: int | None = (self.attempt.end or {}).get("exit_code")
        return exit_code

    @property
    def work(self) -> Mapping[str, float | None]:
        """The amount of work that it reported, by kind."""
        work: Mapping[str, float | None] = (self.attempt.end or {}).get("work", {})
        return work

    @property
    def energy(self) -> Estimate | None:
        """gpu + cpu + dram, in joules; None where none of them could be read."""
        parts = [c.energy for c in self.components if c.component in SUMMED and c.energy is not None]
        return total(parts) if parts else None

    @property
    def energy_with_children(self) -> Estimate | None:
        """The attempt's energy and that of all meters inside it."""
        inside = [self.energy, *(child.energy_with_children for child in self.children)]
        known = [energy for energy in inside if energy is not None]
        return total(known) if known else None

    @property
    def partial(self) -> bool:
        """Whether a component could not be read."""
        return any(c.energy is None for c in self.components)

    @property
    def unknown(self) -> list[str]:
        """Which components have no energy, with the reason; not where another method replaced an unreadable sensor."""
        parts = [c for c in self.components if c.component in SUMMED]
        known = {c.component for c in parts if c.energy is not None}
        return [
            f"{c.component}: {c.reason}"
            for c in parts
            if c.energy is None and (c.component == "gpu" or c.component not in known)
        ]

    @property
    def unused(self) -> list[str]:
        """The GPUs that it held and never used."""
        return [c.device for c in self.components if c.used is False]

    @property
    def coverage(self) -> float:
        """The part of its time that counts, of the component of which the least does; of those with an energy.

        Of one component only one counts at a time, its sensors or the model.
        """
        least: dict[tuple[str, str], float] = {}
        for part in self.components:
            if part.component in SUMMED and part.energy is not None:
                kind = part.component, part.quality
                least[kind] = min(least.get(kind, 1.0), part.coverage)
        whole: dict[str, float] = {}
        for (component, _), coverage in least.items():
            whole[component] = whole.get(component, 0.0) + coverage
        return min(whole.values(), default=1.0)

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds of the attempt's process tree, children's meters included."""
        _, values = self.attempt.series("cpu_s")
        last = float(values[-1]) if len(values) else None
        final = (self.attempt.end or {}).get("cpu_s")
        return last if final is None else max(float(final), last or 0.0)

    @property
    def ended_s(self) -> float | None:
        """When it ended, or was last seen (CLOCK_MONOTONIC, s)."""
        if self.attempt.end and "monotonic_s" in self.attempt.end:
            return float(self.attempt.end["monotonic_s"])
        return self.attempt.last_s if len(self.attempt.times) else None

    def to_json(self) -> dict[str, Any]:
        """Return the job as `greenllm attribute --json` prints it."""
        start = self.attempt.start
        own, whole = self.energy, self.energy_with_children
        began = start.get("monotonic_s")
        return {
            "id": self.id,
            "parent": self.parent,
            "run_id": self.run_id,
            "host": self.host,
            "boot_id": start["boot_id"],
            "rule": self.rule,
            "wildcards": self.wildcards,
            "attempt": self.number,
            "status": self.status,
            "waste": self.waste,
            "exit_code": self.exit_code,
            "config_hash": start.get("config_hash"),
            "started": start.get("started"),
            "ended": self.ended,
            "duration_s": None if self.ended_s is None or began is None else self.ended_s - float(began),
            "cpu_s": self.cpu_s,
            "threads": start.get("threads"),
            "gpus": start.get("gpus", []),
            "ledger": self.attempt.path,
            "damaged_lines": self.attempt.corrupt_lines,
            "energy_J": None if own is None else own.to_json(),
            "energy_with_children_J": None if whole is None else whole.to_json(),
            "partial": self.partial,
            "components": [component.to_json() for component in self.components],
            "work": self.work,
        }


def components_of(
    host: HostEnergy, attempt: Attempt, parameters: Mapping[str, Parameter], names: Mapping[str, str]
) -> list[Component]:
    """Return an attempt's part of each device that was shared out to it, whichever meter read it; and, without energy,
    its own sensors that nobody could read. `names` renames the host's parameters.
    """
    found = []
    energies = host.shares.jobs.get(attempt.id, {})
    for device in host.devices:
        terms = {
            names.get(parameter, parameter): energies[device.key(parameter)]
            for parameter in (term["parameter"] for term in device.sensor["terms"])
            if device.key(parameter) in energies
        }
        if terms:  # else another's GPU, or a model that stood back
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
    coverage = _coverage(attempt, device)
    share = energy.value / counted_J if counted_J > 0 else None
    own = next((sensor for sensor in attempt.sensors if identity_of(sensor) == device.identity), device.sensor)
    reason = own.get("reason") if own["terms"] else device.sensor.get("reason")
    if coverage < 1 and not reason:
        reason = _trouble(attempt, device.sensor) or device.doubt(attempt.first_s, attempt.last_s)
    notices = device.notices(attempt.first_s, attempt.last_s)
    reason = "; ".join([*([reason] if reason else []), *(n for n in notices if n not in (reason or ""))]) or None
    read = coverage > 0 or any(energy.terms.values())
    if read and (halfwidth_J := device.unseen_J(attempt.first_s, attempt.last_s)):
        energy += unseen(attempt.id, name, halfwidth_J * (share or 0.0))
    return Component(
        component,
        attempt.start["host"],
        name,
        energy if read else None,
        reason if read or reason else "no two readings of it succeeded",
        method,
        device.sensor["quality"],
        share if read else None,
        coverage,
        _used(attempt, name) if component == "gpu" else None,
    )


def _used(attempt: Attempt, gpu: str) -> bool | None:
    """Whether something computed on a GPU while the attempt held it; None where its ledger does not say."""
    readings_B = attempt.columns.get(memory_column(gpu))
    return None if readings_B is None else MemoryUse.of(readings_B.tolist()).used


def _concerns(attempt: Attempt, sensor: dict[str, Any], found: Sequence[Component]) -> bool:
    """Whether a sensor is one that the attempt misses, beside what it has found."""
    if sensor["component"] == "gpu" and sensor["terms"] and sensor["device"] not in attempt.gpus:
        return False  # another job's, or nobody's
    if sensor["component"] == "gpu" and not sensor["terms"] and not attempt.start.get("gpus_requested"):
        return False  # unreadable, but no concern of this job's
    if sensor["terms"] and len(attempt.times) > 1:
        return False  # it counted, or is another holder's, or a model that stood back
    same = [part for part in found if part.component == sensor["component"]]
    return not any(
        part.device == sensor["device"] or (part.quality, sensor["quality"]) == ("measured", "modelled")
        for part in same
    )


def _unread(attempt: Attempt, sensor: dict[str, Any]) -> Component:
    component, name, method = identity_of(sensor)
    reason = sensor.get("reason") or _trouble(attempt, sensor) or "ended before it could be sampled twice"
    return Component(component, attempt.start["host"], name, None, reason, method, sensor["quality"], None, 0.0)


def _coverage(attempt: Attempt, device: Device) -> float:
    """The part of an attempt's time in which it was sampled, and its energy from the device is known."""
    began = float(attempt.start.get("monotonic_s", attempt.first_s))
    ended = float((attempt.end or {}).get("monotonic_s", attempt.last_s))
    known_s = device.known_s(max(began, attempt.first_s), min(ended, attempt.last_s))
    return min(1.0, max(0.0, known_s / (ended - began))) if ended > began else 0.0


def _trouble(attempt: Attempt, sensor: dict[str, Any]) -> str | None:
    """Why readings of a sensor failed, as its meter said at the end."""
    for component in (attempt.end or {}).get("components", []):
        if (component.get("component"), component.get("device")) == (sensor["component"], sensor["device"]):
            return str(component["reason"]) if component.get("reason") else None
    return None
