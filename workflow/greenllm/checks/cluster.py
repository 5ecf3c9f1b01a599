"""Checks of a cluster before a job is submitted: one line for each fault, with how to mend it.

What is asked in the scheduler's own words is in the room `cluster`; the check of a node is the same for all.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType
from typing import Any

from greenllm import __version__
from greenllm.checks.node import NodeFindings
from greenllm.checks.profile import STAGES, Profile, whole
from greenllm.cluster import slurm
from greenllm.cluster.request import ResourceRequest
from greenllm.config.models import Needs
from greenllm.errors import UserError, listed, shortened
from greenllm.study.models import Config
from greenllm.study.plan import Plan

# The executors whose clusters can be checked, and what asks each.
CHECKED: Mapping[str, ModuleType] = {"slurm": slurm}
# A node's clock may be this far from the login node's (s): ledgers of several nodes are put in order by it, and
# Snakemake compares the times of files.
CLOCK_S = 2.0
# How long a node may be busy before it is left out (s), and how long another node may take to see a new file.
BUSY_S, VISIBLE_S = 20.0, 60.0
NO_FOLDER = 90  # exit status of a node that cannot enter the folder
NO_PYTHON = 91
# What a profile may set instead of the study, and the form in which it is checked.
EXPECTED = {
    "threads": "a whole number",
    "cpus_per_task": "a whole number",
    "mem": "mem_mb, a whole number of MB",
    "mem_mib": "mem_mb, a whole number of MB",
    "mem_mb": "a whole number of MB",
    "runtime": "a whole number of minutes",
    "gpu": "a whole number",
}


@dataclass
class Diagnosis:
    """What was found: `facts` for a person to read, what is `unchecked`, `faults` that would make jobs fail."""

    facts: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def diagnose(profile: Profile, study: Config, folder: Path, most: int) -> Diagnosis:
    """Check a cluster for a profile and the needs of a study's stages, whose results will be in `folder`.

    A short job runs on each of at most `most` nodes that the profile's jobs may use. Raises UserError where the
    profile's executor is none that can be checked.
    """
    if profile.executor not in CHECKED:
        raise UserError(
            f"{profile.file}: executor: {profile.executor}; expected {listed(list(CHECKED))}: others have no check yet"
        )
    scheduler = CHECKED[profile.executor]
    found = Diagnosis()
    if missing := scheduler.lacking(profile.keys):
        found.faults.append(
            f"{listed(missing)}: not on the path; run this on a host of the cluster where jobs are submitted, or add "
            "the folder of its scheduler's commands to PATH"
        )
        return found
    plan = Plan(study)
    requests = [_request(profile, stage, plan) for stage in STAGES]
    found.unchecked += [f"{profile.file}: {line}" for request in requests for line in _unchecked(profile, request)]
    try:
        cluster = scheduler.describe()
    except UserError as error:
        found.faults.append(str(error))
        return found
    found.facts.append(cluster.summary)
    found.faults += [f"{profile.file}: {fault}" for fault in dict.fromkeys(scheduler.faults(cluster, requests))]
    if found.faults:
        return found
    found.facts += scheduler.notes(cluster, requests)
    used = list(cluster.nodes_for(requests).values())
    if away := [f"{node.name} ({node.state})" for node, _ in used if not node.is_usable]:
        found.facts.append(f"nodes that take no jobs: {listed(away)}")
    usable = [(node, request) for node, request in used if node.is_usable]
    if not usable:
        found.faults.append(f"{profile.file}: none of the {len(used)} nodes takes jobs; ask the administrators")
    if off := [f"{node.name} ({node.state})" for node, _ in usable if node.saves_power]:
        found.facts.append(f"nodes that save power until a job starts them, so they are not checked: {listed(off)}")
    on = [(node, request) for node, request in usable if not node.saves_power]
    if len(on) > most:
        found.facts.append(f"{len(on) - most} of {len(on)} nodes are not checked (--nodes {len(on)})")
    _check_nodes(scheduler, on[:most], folder, found)
    return found


def _request(profile: Profile, stage: str, plan: Plan) -> ResourceRequest:
    """Return a stage's largest request: the study's needs, where the profile does not set them for the rule."""
    own = profile.set_resources(stage)
    needs: Needs = getattr(plan.config.resources, stage)
    minutes = whole(own.get("runtime"), needs.runtime_min)
    # The rules ask for more in each retry; what the profile sets stays as it is.
    attempts = 1 if "runtime" in own else 1 + whole(profile.keys.get("retries"), 0)
    return ResourceRequest(
        stage=stage,
        threads=whole(profile.threads(stage), needs.threads),
        memory_MB=whole(own.get("mem_mb"), needs.memory_MB),
        minutes=minutes,
        last_minutes=minutes * attempts,
        gpus=whole(own.get("gpu"), plan.most_gpus(stage)),
        keys=profile.resources(stage),
        nodes=plan.most_nodes(stage),
        settings=profile.keys,
    )


def _unchecked(profile: Profile, request: ResourceRequest) -> Iterator[str]:
    """Yield what the profile sets for a stage in another form than is checked: an expression, a text such as `5d`."""
    own = profile.set_resources(request.stage)
    own |= {"threads": profile.threads(request.stage), "cpus_per_task": request.keys.get("cpus_per_task")}
    for key, expected in EXPECTED.items():
        value = own.get(key)
        if value is not None and (key in ("mem", "mem_mib") or not str(value).isdecimal()):
            yield f"{request.stage}: {key}: {value}: not checked (expected {expected}), the study's number is instead"


def _check_nodes(
    scheduler: ModuleType, nodes: Sequence[tuple[Any, ResourceRequest]], folder: Path, found: Diagnosis
) -> None:
    """Run a job on each node, as its request asks for, and compare what it finds with what is here."""
    if not nodes:
        return
    with NamedTemporaryFile(dir=folder, prefix=".greenllm-doctor-") as file, ThreadPoolExecutor(len(nodes)) as threads:
        token = Path(file.name)
        checked = threads.map(lambda one: _check_node(scheduler, one[0], one[1], token), nodes)
        for facts, faults in checked:
            found.facts += facts
            found.faults += faults
        for left in folder.glob(f"{token.name}.*"):
            left.unlink()


def _check_node(scheduler: ModuleType, one: Any, request: ResourceRequest, token: Path) -> tuple[list[str], list[str]]:
    """Return facts and faults of one node."""
    node = one.name
    # Plain sh, which a node without our environment has too. PYTHONPATH leads to this package, wherever it is.
    script = f'cd "$1" || exit {NO_FOLDER}; [ -x "$2" ] || exit {NO_PYTHON}; exec "$2" -P -m greenllm.checks.node "$3"'
    package = Path(__file__).parents[2]
    command = ["env", f"PYTHONPATH={package}", "sh", "-c", script, "sh", str(token.parent), sys.executable, str(token)]
    began_s = time.time()
    done = scheduler.run_on(one, command, request, BUSY_S)
    ended_s = time.time()
    if scheduler.was_busy(done):
        return [f"{node}: busy, so its environment, clock and sensors are not checked"], []
    if done.returncode == NO_FOLDER:
        return [], [f"{node}: cannot enter {token.parent}; expected a folder that all nodes share: mount it there"]
    if done.returncode == NO_PYTHON:
        return [], [f"{node}: has no {sys.executable}; install the project in a folder that all nodes share"]
    try:
        seen = NodeFindings(**json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        if done.returncode == 0:
            return [], [
                f"{node}: the check there ran, but printed no findings; see whether a job's output reaches this host"
            ]
        said = shortened(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
        return [], [f"{node}: the environment of {sys.executable} fails there: {said}; install the project again"]
    return [_sensors(node, seen)], list(_node_faults(node, seen, token, began_s, ended_s))


def _sensors(node: str, seen: NodeFindings) -> str:
    known = "; ".join(f"{component} {how}" for component, how in seen.sensors.items())
    return f"{node}: sensors: {known or 'none'}"


def _node_faults(node: str, seen: NodeFindings, token: Path, began_s: float, ended_s: float) -> Iterator[str]:
    if not seen.sees_file or not _appears(token.with_name(f"{token.name}.{seen.host}")):
        yield (
            f"{node}: {token.parent} there is not the folder of this host, since a file written on one is not seen on "
            "the other; expected a folder that all nodes share: mount it there, or move the results"
        )
    if seen.version != __version__:
        yield f"{node}: has greenllm {seen.version}, this host {__version__}; install the same version on both"
    late_s = max(0.0, began_s - seen.clock_s) or min(0.0, ended_s - seen.clock_s)
    if abs(late_s) > CLOCK_S:
        yield (
            f"{node}: its clock is {abs(late_s):.0f} s {'behind' if late_s > 0 else 'ahead of'} this host's; at most "
            f"{CLOCK_S:.0f} s are allowed: synchronise both (chrony or NTP)"
        )


def _appears(path: Path) -> bool:
    """Whether a file that another host has written is seen here; a shared file system may show it late."""
    until_s = time.monotonic() + VISIBLE_S
    while not path.exists():
        if time.monotonic() > until_s:
            return False
        list(path.parent.iterdir())  # reads the folder again on NFS
        time.sleep(0.2)
    return True
