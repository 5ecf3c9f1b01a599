"""The result of attribution: joules per job and per device, in which every joule stands once."""

import itertools
import math
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from greenllm.attribution.artefacts import Artefact, artefacts_of
from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.devices import Device
from greenllm.attribution.hosts import HostEnergy, attribute_host
from greenllm.attribution.jobs import JobEnergy, components_of
from greenllm.attribution.lineage import Lineage
from greenllm.attribution.reading import read_attempts, starts_by_boot
from greenllm.attribution.sharing import TermKey
from greenllm.attribution.spending import Spending, spending_by
from greenllm.attribution.waste import WASTE, waste_classes
from greenllm.estimate import Estimate, Parameter, total, unseen
from greenllm.ledger.energy_log import SUMMED, Component
from greenllm.ledger.records import StartRecord
from greenllm.timestamps import rfc3339

SCHEMA = "greenllm/attribution/1"
POLICIES = ("allocated", "active")
# What is shared out may differ from what was counted by rounding alone: relative to it, and in joules.
ROUNDING, ROUNDING_J = 1e-6, 1e-6


@dataclass
class Attribution:
    """Joules per job and device over all ledgers of a folder."""

    policy: str
    hosts: Sequence[HostEnergy]
    jobs: Sequence[JobEnergy]
    parameters: Mapping[str, Parameter]
    lineage: Lineage
    reading_troubles: Sequence[str] = ()
    _by_id: dict[str, JobEnergy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_id = {job.id: job for job in self.jobs}

    def job(self, job_id: str) -> JobEnergy:
        """Return one attempt's energy. Raises KeyError for an id that no ledger has."""
        return self._by_id[job_id]

    def energy_between(
        self, job_id: str, start_s: float, end_s: float, components: Sequence[str] = SUMMED
    ) -> Estimate | None:
        """Return a job's own energy (of these components) in a window of CLOCK_MONOTONIC seconds of its boot.

        Linear between the job's samples. None where the job was not sampled within the window, or has no energy.
        Raises KeyError for an unknown id.
        """
        job = self._by_id[job_id]
        times, course = job.attempt.times, self._course(job)
        if len(times) < 2 or not course or end_s <= times[0] or start_s >= times[-1]:
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

    def power(self, job_id: str) -> list[tuple[float, float, float, dict[str, float]]]:
        """Return a job's own mean power between its samples.

        Each entry is (start, end: CLOCK_MONOTONIC in s; start by the wall clock: Unix time in s; {component: W}).
        Raises KeyError for an unknown id.
        """
        job = self._by_id[job_id]
        times = job.attempt.times
        energies: dict[str, Any] = {}
        for key, energy in self._course(job).items():
            joules = np.diff(energy) * self.parameters[self._name(job, key)].value
            energies[key.component] = energies.get(key.component, 0.0) + joules
        spans = np.diff(times)
        powers = {component: joules / spans for component, joules in energies.items()}
        offset = job.attempt.wall_offset_s
        return [
            (
                float(times[i]),
                float(times[i + 1]),
                float(times[i]) + offset,
                {component: float(power[i]) for component, power in powers.items()},
            )
            for i in range(len(spans))
        ]

    def _host(self, job: JobEnergy) -> HostEnergy:
        return next(host for host in self.hosts if host.boot_id == job.attempt.boot_id)

    def _course(self, job: JobEnergy) -> Mapping[TermKey, Array]:
        return self._host(job).shares.course.get(job.id, {})

    def _name(self, job: JobEnergy, key: TermKey) -> str:
        return self._names[job.attempt.boot_id].get(key.parameter, key.parameter)

    _names: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def waste(self) -> dict[str, Estimate | None]:
        """Energy by kind of waste: failed, killed, lost, superseded.

        Zero where there was none; None where there was, but of none of it the energy is known.
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
        """What was spent in vain, by (rule, experiment: the wildcard of that name, kind of waste)."""

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
        """One line for each ledger that is damaged, and for each device whose parts do not sum to what it counted."""
        unequal = []
        named = self._named_J()
        for host in self.hosts:
            for row in self.device_totals(host):
                parts_J = named.get((host.boot_id, row["component"], row["device"], row["method"]), 0.0)
                for said, whole_J, found, sum_J in (
                    ("counted", row["counted_J"], "shared out", row["jobs_J"] + row["other_J"] + row["idle_J"]),
                    ("shared out to jobs", row["jobs_J"], "theirs sum to", parts_J),
                ):
                    if not math.isclose(whole_J, sum_J, rel_tol=ROUNDING, abs_tol=ROUNDING_J):
                        unequal.append(
                            f"host {host.attempts[0].start.host}, {row['component']} {row['device']}: {said} "
                            f"{whole_J:.6g} J, but {found} {sum_J:.6g} J; a bug, please report it"
                        )
        return [*self.reading_troubles, *unequal]

    def _named_J(self) -> dict[tuple[str, str, str, str], float]:
        """Return what the jobs' components sum to, by boot and device."""
        parts: dict[tuple[str, str, str, str], list[float]] = {}
        for job in self.jobs:
            for c in job.components:
                if c.energy is not None:
                    device = job.attempt.boot_id, c.component, c.device, c.method
                    parts.setdefault(device, []).append(c.energy.value)
        return {device: math.fsum(joules) for device, joules in parts.items()}

    def device_totals(self, host: HostEnergy) -> list[dict[str, Any]]:
        """Return each device of a host with counted_J, from its own readings, and jobs_J, other_J, idle_J, its parts.

        That the parts sum to what was counted is no definition but the claim; `troubles` names where they do not.
        """
        names = self._names[host.boot_id]
        rows = []
        for device in host.devices:

            def joules(energies: Mapping[TermKey, float], device: Device = device) -> float:
                return math.fsum(
                    energies.get(device.key(term.parameter), 0.0)
                    * self.parameters[names.get(term.parameter, term.parameter)].value
                    for term in device.sensor.terms
                )

            jobs_J = math.fsum(joules(own) for own in host.shares.jobs.values())
            other_J, idle_J = joules(host.shares.other), joules(host.shares.idle)
            component, name, method = device.identity
            rows.append(
                {
                    "device": name,
                    "component": component,
                    "method": method,
                    "quality": device.sensor.quality,
                    "counted_J": joules(host.counted),
                    "jobs_J": jobs_J,
                    "other_J": other_J,
                    "idle_J": idle_J,
                    "notices": device.notices(),
                }
            )
        return rows

    def hosts_json(self) -> list[dict[str, Any]]:
        """Return each boot of a host with its devices and gaps."""
        hosts = []
        for host in self.hosts:
            starts = [a.first_s + a.wall_offset_s for a in host.attempts if len(a.times)]
            ends = [a.last_s + a.wall_offset_s for a in host.attempts if len(a.times)]
            hosts.append(
                {
                    "host": host.attempts[0].start.host,
                    "boot_id": host.boot_id,
                    "started": rfc3339(min(starts)) if starts else None,
                    "ended": rfc3339(max(ends)) if ends else None,
                    "devices": self.device_totals(host),
                    "gaps": host.gaps,
                }
            )
        return hosts

    def to_json(self) -> dict[str, Any]:
        """Return what `greenllm attribute --json` prints."""
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "hosts": self.hosts_json(),
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


def attribute(ledger_dir: Path, policy: str = "allocated", courses: bool = True) -> Attribution:
    """Read all ledgers under a folder and attribute their energy.

    Without `courses` there is no `energy_between` and no `power`; but the memory is that of two hosts' samples, however
    many there are, and all cores share the work. Raises UserError where the folder is missing or a ledger cannot be
    read, ValueError for an unknown policy.
    """
    _check(policy)
    folder = Path(ledger_dir)
    if courses:
        attempts, troubles = read_attempts(folder)
        return attribute_attempts(attempts, policy, troubles)
    boots = starts_by_boot(folder)
    known = {boot_id: [start for start in starts.values() if start] for boot_id, starts in boots.items() if boot_id}
    parameters, names = _merge_parameters(known)
    work = partial(_attribute_boot, folder, policy, parameters, names)
    # Workers ignore Ctrl-C; the parent handles it.
    ignore_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("fork"), ignore_sigint) as processes:
        found = list(processes.map(work, [list(starts) for starts in boots.values()]))
    hosts = [host for host, _, _ in found if host]
    components = {job_id: parts for _, own, _ in found for job_id, parts in own.items()}
    troubles = [trouble for _, _, own in found for trouble in own]
    return _assemble(policy, hosts, components, parameters, names, troubles)


def _attribute_boot(
    folder: Path,
    policy: str,
    parameters: Mapping[str, Parameter],
    names: Mapping[str, Mapping[str, str]],
    paths: Sequence[Path],
) -> tuple[HostEnergy | None, dict[str, list[Component]], list[str]]:
    attempts, troubles = read_attempts(folder, paths)
    if not attempts:
        return None, {}, troubles
    host = attribute_host(Lineage(attempts).in_order, policy)
    components = {a.id: components_of(host, a, parameters, names[host.boot_id]) for a in attempts}
    return host.without_samples(), components, troubles


def attribute_attempts(
    attempts: Sequence[Attempt], policy: str = "allocated", troubles: Sequence[str] = ()
) -> Attribution:
    """Attribute the energy of attempts, on any number of hosts. Pure: no file is read.

    `policy` "allocated" charges a job for the idle part of what it reserved, "active" does not.
    """
    _check(policy)
    boots: dict[str, list[Attempt]] = {}
    for attempt in Lineage(attempts).in_order:
        boots.setdefault(attempt.boot_id, []).append(attempt)
    parameters, names = _merge_parameters({boot_id: [a.start for a in own] for boot_id, own in boots.items()})
    hosts = [attribute_host(own, policy) for own in boots.values()]
    components = {
        a.id: components_of(host, a, parameters, names[host.boot_id]) for host in hosts for a in host.attempts
    }
    return _assemble(policy, hosts, components, parameters, names, troubles)


def _check(policy: str) -> None:
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}: expected one of {', '.join(POLICIES)}")


def _assemble(
    policy: str,
    hosts: Sequence[HostEnergy],
    components: Mapping[str, Sequence[Component]],
    parameters: Mapping[str, Parameter],
    names: dict[str, dict[str, str]],
    troubles: Sequence[str],
) -> Attribution:
    """Make the result of what was found host by host."""
    lineage = Lineage([attempt for host in hosts for attempt in host.attempts])
    place = {attempt.id: place for place, attempt in enumerate(lineage.in_order)}
    hosts = sorted(hosts, key=lambda host: place[host.attempts[0].id])
    known = dict(parameters)
    for component in itertools.chain.from_iterable(components.values()):
        known |= component.energy.parameters if component.energy else {}
    waste = waste_classes(lineage)
    jobs: dict[str, JobEnergy] = {}
    children: dict[str | None, list[JobEnergy]] = {}
    for attempt in sorted(lineage.in_order, key=lambda a: -a.id.count(".")):  # children first
        job = JobEnergy(attempt, components[attempt.id], waste.get(attempt.id), children.get(attempt.id, ()))
        jobs[attempt.id] = job
        children.setdefault(lineage.around(attempt), []).append(job)
    ordered = [jobs[a.id] for host in hosts for a in host.attempts]
    return Attribution(policy, hosts, ordered, known, lineage, troubles, _names=names)


def _merge_parameters(
    boots: Mapping[str, Iterable[StartRecord]],
) -> tuple[dict[str, Parameter], dict[str, dict[str, str]]]:
    """Collect the parameters of all ledgers, from each boot's start records in order of time.

    Two hosts may bear one name: where a name has two values, the later boot's gets the boot's id appended. Returns
    the parameters, and for each boot {name in its ledgers: name here}.
    """
    parameters: dict[str, Parameter] = {}
    names: dict[str, dict[str, str]] = {}
    for boot_id, starts in boots.items():
        own = names.setdefault(boot_id, {})
        latest = {name: parameter for start in starts for name, parameter in start.parameters.items()}
        for name, parameter in latest.items():
            if parameters.setdefault(name, parameter) != parameter:
                own[name] = f"{name}~{boot_id[:8]}"
                parameters[own[name]] = parameter
    return parameters, names
