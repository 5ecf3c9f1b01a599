"""The result of attribution: joules per job and per device; every joule is counted once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from greenllm.attribution.artefacts import Artefact, artefacts_of
from greenllm.attribution.attempt import Array
from greenllm.attribution.devices import Device
from greenllm.attribution.hosts import Gap, HostEnergy
from greenllm.attribution.jobs import LEAST_COVERAGE, JobEnergy, covered
from greenllm.attribution.lineage import Lineage
from greenllm.attribution.sharing import TermKey
from greenllm.attribution.spending import Spending, spending_by
from greenllm.attribution.waste import WASTE
from greenllm.estimate import Estimate, Parameter, total, unseen
from greenllm.ledger.energy_log import SUMMED
from greenllm.ledger.records import Identity
from greenllm.timestamps import rfc3339

SCHEMA = "greenllm/attribution/2"
# What is shared out may differ from what was counted by rounding alone: relative to it, and in joules.
ROUNDING, ROUNDING_J = 1e-6, 1e-6


@dataclass(frozen=True)
class DeviceTotals:
    """What a device counted, by its own readings, and the parts of jobs, other processes and unallocated idle (J).

    `idle_terms`: the idle part as {parameter: coefficient}.
    """

    device: str
    component: str
    method: str
    quality: str
    counted_J: float
    jobs_J: float
    other_J: float
    idle_J: float
    idle_terms: Mapping[str, float]
    notices: Sequence[str]


@dataclass(frozen=True)
class HostTotals:
    """One boot of one host: its processors and memory, its devices, and the times in which nothing was counted."""

    host: str
    boot_id: str
    cpus: int
    memory_B: float | None
    started: str | None  # RFC 3339
    ended: str | None
    devices: Sequence[DeviceTotals]
    gaps: Sequence[Gap]


@dataclass(frozen=True)
class PowerBetweenSamples:
    """A job's own mean power between its samples: from each of `start_s` to the same of `end_s` (Unix time), in W."""

    start_s: Array
    end_s: Array
    components_W: Mapping[str, Array]


@dataclass
class Attribution:
    """Joules per job and device over all ledgers of a folder.

    `names`: for each boot {a parameter's name in its ledgers: its name in `parameters`, where that differs}.
    """

    policy: str
    hosts: Sequence[HostEnergy]
    jobs: Sequence[JobEnergy]
    parameters: Mapping[str, Parameter]
    lineage: Lineage
    reading_troubles: Sequence[str] = ()
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def _by_id(self) -> dict[str, JobEnergy]:
        return {job.id: job for job in self.jobs}

    def job(self, job_id: str) -> JobEnergy:
        """Return one attempt's energy. Raises KeyError for an id that no ledger has."""
        return self._by_id[job_id]

    def energy_between(
        self, job_id: str, start_s: float, end_s: float, components: Sequence[str] = SUMMED
    ) -> Estimate | None:
        """Return a job's own energy (of these components) in a window of CLOCK_MONOTONIC seconds of its boot.

        Linear between the job's samples. None where the job was not sampled within the window, or where the energy of
        a component is unknown in a part of it.
        Raises KeyError for an unknown id.
        """
        job = self._by_id[job_id]
        times, course = job.attempt.times, self._course(job)
        if len(times) < 2 or not course or end_s <= times[0] or start_s >= times[-1]:
            return None
        if self._known_share(job, start_s, end_s, components) < LEAST_COVERAGE:
            return None
        terms: dict[str, float] = {}
        for key, energy in course.items():
            if key.component in components:
                at_start, at_end = np.interp([start_s, end_s], times, energy)
                name = self._name(job, key)
                terms[name] = terms.get(name, 0.0) + float(at_end - at_start)
        if not terms:
            return None
        window = f"{job_id}[{start_s:.3f},{end_s:.3f}]"
        open_J = {
            device.sensor.device: device.unseen_J(max(start_s, float(times[0])), min(end_s, float(times[-1])))
            for device in self._host(job).devices
            if device.component in components and device.sensor.device in job.attempt.gpus
        }
        return total(
            [
                Estimate(terms, self.parameters),
                *(unseen(window, name, half_J) for name, half_J in open_J.items() if half_J),
            ]
        )

    def _known_share(self, job: JobEnergy, start_s: float, end_s: float, components: Sequence[str]) -> float:
        """Return the least share of a window in which the job was sampled, and a component's energy is known."""
        course, (first_s, *_, last_s) = self._course(job), job.attempt.times
        within = max(start_s, first_s), min(end_s, last_s)
        shares = covered(
            (device.component, device.sensor.quality, device.known_s(*within) / (end_s - start_s))
            for device in self._host(job).devices
            if device.component in components
            and any(device.key(one.parameter) in course for one in device.sensor.terms)
        )
        return min(shares.values(), default=1.0)

    def counted_between(self, boot_id: str, component: str, start_s: float, end_s: float) -> float:
        """Return what the devices of a component counted in a window of CLOCK_MONOTONIC seconds of a boot, in J.

        Raises KeyError for an unknown boot.
        """
        names = self.names[boot_id]
        devices = [device for host in self.hosts if host.boot_id == boot_id for device in host.devices]
        return math.fsum(
            coefficient * self.parameters[names.get(parameter, parameter)].value
            for device in devices
            if device.component == component
            for parameter, coefficient in device.counted(start_s, end_s).items()
        )

    def power(self, job_id: str) -> PowerBetweenSamples:
        """Return a job's own mean power between its samples. Raises KeyError for an unknown id."""
        job = self._by_id[job_id]
        times_s = job.attempt.times
        spans_s = np.diff(times_s)
        energies_J: dict[str, Array] = {}
        for key, energy in self._course(job).items():
            joules = np.diff(energy) * self.parameters[self._name(job, key)].value
            energies_J[key.component] = energies_J.get(key.component, 0.0) + joules
        start_s = times_s[:-1] + job.attempt.wall_offset_s
        powers_W = {component: joules / spans_s for component, joules in energies_J.items()}
        return PowerBetweenSamples(start_s, start_s + spans_s, powers_W)

    @cached_property
    def _hosts(self) -> dict[str, HostEnergy]:
        return {host.boot_id: host for host in self.hosts}

    def _host(self, job: JobEnergy) -> HostEnergy:
        return self._hosts[job.attempt.boot_id]

    def _course(self, job: JobEnergy) -> Mapping[TermKey, Array]:
        return self._host(job).shares.course.get(job.id, {})

    def _name(self, job: JobEnergy, key: TermKey) -> str:
        return self.names[job.attempt.boot_id].get(key.parameter, key.parameter)

    @property
    def waste(self) -> dict[str, Estimate | None]:
        """Energy wasted, by kind: failed, killed, lost, superseded.

        Zero if nothing was wasted; None if something was but no part of it was measured.
        """
        kinds: dict[str, list[Estimate | None]] = {kind: [] for kind in WASTE}
        for job in self.jobs:
            if job.waste:
                kinds[job.waste].append(job.energy)
        known = {kind: [energy for energy in energies if energy is not None] for kind, energies in kinds.items()}
        return {kind: total(known[kind]) if known[kind] or not kinds[kind] else None for kind in WASTE}

    @property
    def spent(self) -> Spending:
        """What all attempts spent, each once, waste included."""
        return Spending(self.jobs)

    @property
    def spent_by_run(self) -> dict[str | None, Spending]:
        """What each run (one invocation of a workflow, or of the meter alone) spent, in order of time."""
        return spending_by(self._in_order_of_time, lambda job: job.run_id)

    @property
    def waste_by_rule(self) -> dict[tuple[str | None, str | None, str], Spending]:
        """What was wasted, by (rule, experiment: the wildcard of that name, kind of waste)."""

        def key(job: JobEnergy) -> tuple[str | None, str | None, str]:
            return job.rule, job.wildcards.get("experiment"), str(job.waste)

        return spending_by((job for job in self._in_order_of_time if job.waste), key)

    @cached_property
    def artefacts(self) -> list[Artefact]:
        """What the attempts made, by path, with the cost to produce it."""
        return artefacts_of(self.lineage, self._by_id)

    @property
    def _in_order_of_time(self) -> list[JobEnergy]:
        return [self._by_id[attempt.id] for attempt in self.lineage.in_order]

    @property
    def troubles(self) -> list[str]:
        """One line for each damaged ledger, and for each device whose parts do not sum to what it counted."""
        named: dict[tuple[str, Identity], list[float]] = {}  # by boot and device: energies of the jobs' components
        for job in self.jobs:
            for c in job.components:
                if c.energy is not None:
                    device = Identity(c.component, c.device, c.method)
                    named.setdefault((job.attempt.boot_id, device), []).append(c.energy.value)
        unequal = []
        for host in self.hosts:
            for row in self.device_totals(host):
                parts_J = math.fsum(named.get((host.boot_id, Identity(row.component, row.device, row.method)), ()))
                for whole, whole_J, parts, sum_J in (
                    ("counted", row.counted_J, "shared out", row.jobs_J + row.other_J + row.idle_J),
                    ("shared out to jobs", row.jobs_J, "theirs sum to", parts_J),
                ):
                    if not math.isclose(whole_J, sum_J, rel_tol=ROUNDING, abs_tol=ROUNDING_J):
                        unequal.append(
                            f"host {host.name}, {row.component} {row.device}: {whole} {whole_J:.6g} J, but {parts} "
                            f"{sum_J:.6g} J; a bug, please report it"
                        )
        return [*self.reading_troubles, *unequal]

    def device_totals(self, host: HostEnergy) -> list[DeviceTotals]:
        """Return each device of a host with what it counted and the parts to which that was shared out.

        The sums are computed independently of each other; `troubles` reports where they differ.
        """
        names = self.names[host.boot_id]
        rows = []
        for device in host.devices:

            def joules(energies: Mapping[TermKey, float], device: Device = device) -> float:
                return math.fsum(
                    energies.get(device.key(term.parameter), 0.0)
                    * self.parameters[names.get(term.parameter, term.parameter)].value
                    for term in device.sensor.terms
                )

            rows.append(
                DeviceTotals(
                    device=device.sensor.device,
                    component=device.component,
                    method=device.sensor.method,
                    quality=device.sensor.quality,
                    counted_J=joules(host.counted),
                    jobs_J=math.fsum(joules(own) for own in host.shares.jobs.values()),
                    other_J=joules(host.shares.other),
                    idle_J=joules(host.shares.idle),
                    idle_terms={
                        names.get(term.parameter, term.parameter): coefficient
                        for term in device.sensor.terms
                        if (coefficient := host.shares.idle.get(device.key(term.parameter)))
                    },
                    notices=device.notices(),
                )
            )
        return rows

    def host_totals(self) -> list[HostTotals]:
        """Return each boot of a host with its devices and gaps."""
        hosts = []
        for host in self.hosts:
            starts = [a.first_s + a.wall_offset_s for a in host.attempts if len(a.times)]
            ends = [a.last_s + a.wall_offset_s for a in host.attempts if len(a.times)]
            hosts.append(
                HostTotals(
                    host=host.name,
                    boot_id=host.boot_id,
                    cpus=max(a.start.cpus for a in host.attempts),
                    memory_B=max((a.start.memory_B for a in host.attempts if a.start.memory_B), default=None),
                    started=rfc3339(min(starts)) if starts else None,
                    ended=rfc3339(max(ends)) if ends else None,
                    devices=self.device_totals(host),
                    gaps=host.gaps,
                )
            )
        return hosts

    def to_json(self) -> dict[str, Any]:
        """Return what `greenllm attribute --json` prints."""
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "hosts": [asdict(host) for host in self.host_totals()],
            "jobs": [job.to_json() for job in self.jobs],
            "waste_J": {kind: None if energy is None else energy.value for kind, energy in self.waste.items()},
            "waste": [
                {"rule": rule, "experiment": experiment, "kind": kind, **_spent_json(spent)}
                for (rule, experiment, kind), spent in self.waste_by_rule.items()
            ],
            "spent_J": self.spent.to_json()["energy_J"],
            "runs": [{"run_id": run_id, **_spent_json(spent)} for run_id, spent in self.spent_by_run.items()],
            "artefacts": [artefact.to_json() for artefact in self.artefacts],
            "parameters": {name: p.to_json() for name, p in sorted(self.parameters.items())},
            "ledgers": [
                {"path": job.attempt.path, "bytes": job.attempt.bytes, "sha256": job.attempt.sha256}
                for job in self.jobs
            ],
            "troubles": self.troubles,
        }


def _spent_json(spent: Spending) -> dict[str, Any]:
    return {"attempts": len(spent.jobs), **spent.to_json()}
