"""What is wrong with a cluster, found before a job is submitted: one line for each fault, that says how to mend it."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from greenllm import __version__
from greenllm.checks.node import NodeFindings
from greenllm.checks.profile import STAGES, Profile, whole
from greenllm.cluster import slurm
from greenllm.config.models import Needs, Resources
from greenllm.config.read import nearest
from greenllm.errors import UserError, listed, shortened

# A node's clock may be this far from the login node's (s): ledgers of several nodes are put in order by it, and
# Snakemake compares the times of files.
CLOCK_S = 2.0
# How long a node may be busy before it is left out (s), and how long another node may take to see a new file.
BUSY_S, VISIBLE_S = 20.0, 60.0
NO_FOLDER = 90  # exit status of a node that cannot enter the folder
NO_PYTHON = 91


@dataclass
class Diagnosis:
    """What was found: `facts` for a person to read, `faults` that would make jobs fail."""

    facts: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def diagnose(profile: Profile, resources: Resources, folder: Path, most: int) -> Diagnosis:
    """Check a SLURM cluster for a profile and the needs of a study's stages, whose results will be in `folder`.

    A short job runs on each of at most `most` nodes that the profile's jobs may use.
    """
    found = Diagnosis()
    status_command = str(profile.keys.get("slurm-status-command", "squeue"))
    if missing := slurm.lacking(status_command):
        found.faults.append(
            f"{listed(missing)}: not on the path; run this on a node of the cluster where jobs are submitted, or add "
            "the folder of SLURM's commands to PATH"
        )
        return found
    try:
        partitions, nodes = slurm.partitions(), slurm.nodes()
    except UserError as error:
        found.faults.append(str(error))
        return found
    found.facts.append(f"commands: {slurm.version()}, {len(nodes)} node(s), partitions {listed(list(partitions))}")
    requests = [Request.of(profile, stage, getattr(resources, stage)) for stage in STAGES]
    found.faults += dict.fromkeys(_request_faults(profile, requests, partitions, nodes))
    if found.faults:
        return found
    allowed = {request.partition or next(iter(partitions)) for request in requests}
    used = [node for node in nodes.values() if allowed.intersection(node.partitions)]
    if away := [f"{node.name} ({node.state})" for node in used if not node.is_usable]:
        found.facts.append(f"nodes that take no jobs: {listed(away)}")
    usable = [node for node in used if node.is_usable]
    if not usable:
        found.faults.append(f"partition {', '.join(sorted(allowed))}: no node takes jobs; ask the administrators")
    if len(usable) > most:
        found.facts.append(f"{len(usable) - most} of {len(usable)} nodes are not checked (--nodes {len(usable)})")
    _check_nodes(usable[:most], requests[0].options(partition_only=True), folder, found)
    return found


@dataclass(frozen=True)
class Request:
    """What the jobs of a stage ask the cluster for. Memory in MB, run time in minutes."""

    stage: str
    threads: int
    memory_MB: int
    minutes: int
    gpus: int
    gpu_model: str | None
    gres: str | None
    partition: str | None
    account: str | None

    @classmethod
    def of(cls, profile: Profile, stage: str, needs: Needs) -> "Request":
        """Return a stage's request: the study's needs, where the profile does not set them for the rule."""
        asked = profile.resources(stage)
        # The rule's own resources win over the profile's defaults, and `set-resources` over these.
        ruled = profile.set_resources(stage)
        return cls(
            stage=stage,
            threads=needs.threads,
            memory_MB=whole(ruled.get("mem_mb"), needs.memory_MB),
            minutes=whole(ruled.get("runtime"), needs.runtime_min),
            gpus=whole(ruled.get("gpu"), needs.gpu),
            gpu_model=asked.get("gpu_model"),
            gres=asked.get("gres"),
            partition=asked.get("slurm_partition"),
            account=asked.get("slurm_account"),
        )

    def options(self, partition_only: bool = False) -> list[str]:
        """Return the options of sbatch(1) for it."""
        options = [f"--partition={self.partition}"] if self.partition else []
        options += [f"--account={self.account}"] if self.account else []
        if partition_only:
            return options
        options += [f"--cpus-per-task={self.threads}", f"--mem={self.memory_MB}", f"--time={self.minutes}", "--nodes=1"]
        if self.gpus:
            options.append(f"--gpus={self.gpu_model}:{self.gpus}" if self.gpu_model else f"--gpus={self.gpus}")
        return options + ([f"--gres={self.gres}"] if self.gres else [])


def _request_faults(
    profile: Profile, requests: Sequence[Request], partitions: dict[str, bool], nodes: dict[str, slurm.ClusterNode]
) -> Iterator[str]:
    """Yield what is wrong with the requests of the stages, by the cluster's description and by its own test."""
    file = profile.file
    refused: dict[tuple[str, ...], str] = {}
    for request in requests:
        if request.partition is not None and request.partition not in partitions:
            known = nearest(request.partition, list(partitions))
            yield f"{file}: slurm_partition: {request.partition}: the cluster has no such partition{known}"
            continue
        partition = request.partition or next(iter(partitions))
        if not partitions[partition]:
            yield f"{file}: slurm_partition: {partition}: takes no jobs now (`sinfo -s`); take another"
            continue
        models = {model for node in nodes.values() if partition in node.partitions for model in node.gpus}
        if request.gpu_model and request.gpu_model not in models:
            has = nearest(request.gpu_model, sorted(models)) if models - {""} else "; its GPUs have no names"
            yield f"{file}: gpu_model: {request.gpu_model}: no node of partition {partition} has such a GPU{has}"
            continue
        if request.gpus and not models:
            yield (
                f"{file}: partition {partition}: no node has a GPU, but {request.stage} asks for {request.gpus}; "
                "set another slurm_partition, or `device: cpu` in the study"
            )
            continue
        options = tuple(request.options())
        if options not in refused:
            refused[options] = slurm.refusal(options) or ""
        if refused[options]:
            yield (
                f"{file}: {request.stage}: SLURM refuses its jobs ({' '.join(options)}): {refused[options]}; "
                "change resources in the study, or the profile's partition or account"
            )


def _check_nodes(nodes: Sequence[slurm.ClusterNode], options: Sequence[str], folder: Path, found: Diagnosis) -> None:
    """Run a job on each node, and compare what it finds with what is here."""
    if not nodes:
        return
    with NamedTemporaryFile(dir=folder, prefix=".greenllm-doctor-") as file, ThreadPoolExecutor(len(nodes)) as threads:
        token = Path(file.name)
        checked = threads.map(lambda node: _check_node(node.name, options, token), nodes)
        for facts, faults in checked:
            found.facts += facts
            found.faults += faults
        for left in folder.glob(f"{token.name}.*"):
            left.unlink()


def _check_node(node: str, options: Sequence[str], token: Path) -> tuple[list[str], list[str]]:
    """Return facts and faults of one node."""
    # Plain sh, which a node without our environment has too. PYTHONPATH leads to this package, wherever it is.
    script = f'cd "$1" || exit {NO_FOLDER}; [ -x "$2" ] || exit {NO_PYTHON}; exec "$2" -P -m greenllm.checks.node "$3"'
    package = Path(__file__).parents[2]
    command = ["env", f"PYTHONPATH={package}", "sh", "-c", script, "sh", str(token.parent), sys.executable, str(token)]
    began_s = time.time()
    done = slurm.run_on(node, command, [*options, "--mem=500"], BUSY_S)
    ended_s = time.time()
    if slurm.was_busy(done):
        return [f"{node}: busy, so its environment, clock and sensors are not checked"], []
    if done.returncode == NO_FOLDER:
        return [], [f"{node}: cannot enter {token.parent}; expected a folder that all nodes share: mount it there"]
    if done.returncode == NO_PYTHON:
        return [], [f"{node}: has no {sys.executable}; install the project in a folder that all nodes share"]
    try:
        seen = NodeFindings(**json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
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
