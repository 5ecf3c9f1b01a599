"""One attempt's energy, by component."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenllm.attribution.attempt import Attempt, identity_of
from greenllm.attribution.devices import Device
from greenllm.attribution.hosts import HostEnergy
from greenllm.meter.component import SUMMED, Component
from greenllm.meter.estimate import Estimate, Parameter, total, unseen
from greenllm.meter.times import rfc3339


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
        start, end = self.attempt.start, self.attempt.end or {}
        job = start["job"]
        ended = end.get("ended")
        if ended is None and self.ended_s is not None and self.status != "running":
            ended = rfc3339(self.ended_s + self.attempt.wall_offset_s)
        own, whole = self.energy, self.energy_with_children
        began = start.get("monotonic_s")
        return {
            "id": self.id,
            "parent": self.attempt.parent,
            "run_id": start.get("run_id"),
            "host": start["host"],
            "boot_id": start["boot_id"],
            "rule": job.get("rule"),
            "wildcards": job.get("wildcards", {}),
            "attempt": job.get("attempt"),
            "status": self.status,
            "waste": self.waste,
            "exit_code": end.get("exit_code"),
            "config_hash": start.get("config_hash"),
            "started": start.get("started"),
            "ended": ended,
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
            "work": end.get("work", {}),
        }


def components_of(
    host: HostEnergy, attempt: Attempt, parameters: Mapping[str, Parameter], names: Mapping[str, str]
) -> list[Component]:
    """Return an attempt's part of each device that its meter could see. `names` renames the host's parameters."""
    energies = host.shares.jobs.get(attempt.id, {})
    components = []
    for sensor in attempt.sensors:
        if sensor["component"] == "gpu" and sensor["device"] not in attempt.gpus and sensor["terms"]:
            continue  # another job's, or nobody's
        if sensor["component"] == "gpu" and not sensor["terms"] and not attempt.start.get("gpus_requested"):
            continue  # unreadable, but no concern of this job's
        device = next((d for d in host.devices if d.identity == identity_of(sensor)), None)
        energy, share = None, None
        if device is not None and len(attempt.times) > 1:
            terms = {
                names.get(parameter, parameter): energies[device.key(parameter)]
                for parameter in (term["parameter"] for term in device.sensor["terms"])
                if device.key(parameter) in energies
            }
            if not terms:  # a model that stood back, since another meter measured the component
                continue
            energy = Estimate(terms, {name: parameters[name] for name in terms})
            span = np.array([attempt.first_s, attempt.last_s])
            counted_J = sum(
                float(growth[0]) * parameters[names.get(parameter, parameter)].value
                for parameter, growth in device.growth(span)
            )
            share = energy.value / counted_J if counted_J > 0 else None
            if halfwidth_J := device.unseen_J(attempt.first_s, attempt.last_s):
                energy += unseen(attempt.id, sensor["device"], halfwidth_J * (share or 0.0))
        coverage = _coverage(attempt, sensor, device)
        reason = sensor.get("reason") or (_trouble(attempt, sensor) if coverage < 1 else None)
        if energy is None and reason is None:
            reason = "ended before it could be sampled twice"
        component, name, method = identity_of(sensor)
        components.append(
            Component(
                component,
                attempt.start["host"],
                name,
                energy,
                reason,
                method,
                sensor["quality"],
                share,
                coverage,
            )
        )
    return components


def _coverage(attempt: Attempt, sensor: dict[str, Any], device: Device | None) -> float:
    """The part of the attempt's time between the sensor's first and last reading, without what is unknown within."""
    if device is None or len(attempt.times) < 2:
        return 0.0
    began = float(attempt.start.get("monotonic_s", attempt.first_s))
    ended = float((attempt.end or {}).get("monotonic_s", attempt.last_s))
    reads = sensor.get("counter") or sensor.get("gauge")
    times = attempt.counter(sensor)[0] if reads else attempt.times
    times = np.clip(times, began, ended)
    if len(times) < 2 or ended <= began:
        return 0.0
    unknown_s = sum(max(0.0, min(gap.end_s, times[-1]) - max(gap.start_s, times[0])) for gap in device.series.unknown)
    return float(min(1.0, max(0.0, (times[-1] - times[0] - unknown_s) / (ended - began))))


def _trouble(attempt: Attempt, sensor: dict[str, Any]) -> str | None:
    """Why readings of a sensor failed, as its meter said at the end."""
    for component in (attempt.end or {}).get("components", []):
        if (component.get("component"), component.get("device")) == (sensor["component"], sensor["device"]):
            return str(component["reason"]) if component.get("reason") else None
    return None
