"""Attributes the energy in ledgers: reads them, shares out host by host, and puts the result together."""

import itertools
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.hosts import HostEnergy, attribute_host
from greenllm.attribution.jobs import JobEnergy, components_of
from greenllm.attribution.lineage import Lineage
from greenllm.attribution.reading import read_attempts, starts_by_boot
from greenllm.attribution.result import Attribution
from greenllm.attribution.waste import waste_classes
from greenllm.estimate import Parameter
from greenllm.ledger.energy_log import Component
from greenllm.ledger.records import StartRecord

POLICIES = ("allocated", "active")


def attribute(ledger_dir: Path, policy: str = "allocated", courses: bool = True) -> Attribution:
    """Read all ledgers under a folder and attribute their energy.

    Without `courses`, `energy_between` and `power` find nothing; but all cores share the work, and no more than one
    host's samples are in memory for each core. Raises UserError where the folder is missing or a ledger cannot be read,
    ValueError for an unknown policy.
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
    """Return the result, from what was found host by host."""
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
    return Attribution(policy, hosts, ordered, known, lineage, troubles, names)


def _merge_parameters(
    boots: Mapping[str, Iterable[StartRecord]],
) -> tuple[dict[str, Parameter], dict[str, dict[str, str]]]:
    """Collect the parameters of all ledgers, from each boot's start records in order of time.

    Two hosts may have one name: if a parameter's name has two values, the later boot's gets the boot's id appended.
    Returns the parameters, and for each boot {name in its ledgers: name here, where that differs}.
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
