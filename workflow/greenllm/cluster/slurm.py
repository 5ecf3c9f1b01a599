"""What a SLURM cluster has and accepts, asked through SLURM's own commands."""

import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenllm.cluster.request import ResourceRequest
from greenllm.config.read import nearest
from greenllm.errors import UserError, listed, shortened

PROGRAMS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
# The longest wait for an answer of the controller (s): clients give up by themselves after MessageTimeout, 10 s.
ANSWER_S = 60.0
# States in which a node takes jobs, now or when others have ended (sinfo(1), NODE STATE CODES).
USABLE = ("idle", "mixed", "allocated", "completing", "planned", "reserved")
# Flags after the state. Power saving: powered off, powering up, about to power down, powering down. SLURM starts such a
# node for a job. `-`: planned for a job. The others: does not respond, maintenance, reboot.
POWER_SAVING, PLANNED = "~#!%", "-"
GPU = re.compile(r"gpu(?::(?P<model>[^:(,]+))?:(?P<count>\d+)")


@dataclass
class ClusterNode:
    """A node: the partitions that it is in, its state, and what it has. `gpus`: the number of each model."""

    name: str
    state: str
    cpus: int
    memory_MB: int
    gpus: Mapping[str, int]
    partitions: list[str] = field(default_factory=list)

    def partitions_among(self, names: Sequence[str]) -> list[str]:
        """Return those of the named partitions that the node is in."""
        return [name for name in names if name in self.partitions]

    @property
    def is_usable(self) -> bool:
        """Whether it takes jobs, perhaps after SLURM has powered it up."""
        return self.state.rstrip(POWER_SAVING + PLANNED) in USABLE

    @property
    def saves_power(self) -> bool:
        """Whether SLURM powers it down while it has no job."""
        return self.state.endswith(tuple(POWER_SAVING))


@dataclass(frozen=True)
class Partition:
    """A partition: whether it accepts jobs, and the longest run time that a job there may ask for (minutes)."""

    is_up: bool
    longest_min: float


@dataclass(frozen=True)
class SlurmCluster:
    """A cluster: its partitions by name, the default one first, and its nodes by name."""

    partitions: Mapping[str, Partition]
    nodes: Mapping[str, ClusterNode]

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{_version()}: {len(self.nodes)} node(s), partitions {listed(list(self.partitions))}"

    def partitions_of(self, request: ResourceRequest) -> list[str]:
        """Return the partitions that a request may go to: those that it names, else the default one."""
        return _named_partitions(request) or [next(iter(self.partitions))]

    def nodes_for(self, requests: Sequence[ResourceRequest]) -> dict[str, tuple[ClusterNode, ResourceRequest]]:
        """Return the nodes of the partitions that the requests may go to, by name, each with the first such request."""
        found: dict[str, tuple[ClusterNode, ResourceRequest]] = {}
        for request in requests:
            partitions = self.partitions_of(request)
            for node in self.nodes.values():
                if node.partitions_among(partitions):
                    found.setdefault(node.name, (node, request))
        return found


def lacking(profile: Mapping[str, Any]) -> list[str]:
    """Return the programs that a workflow with this profile calls and that are not on the path."""
    status_command = str(profile.get("slurm-status-command", "squeue"))
    return [name for name in dict.fromkeys((*PROGRAMS, status_command)) if shutil.which(name) is None]


def describe() -> SlurmCluster:
    """Return what the cluster has. Raises UserError where the controller does not answer, or lists no partition."""
    partitions = _partitions()
    if not partitions:
        raise UserError("sinfo: lists no partition that you may use; ask the administrators for access to one")
    return SlurmCluster(partitions, _nodes())


def _version() -> str:
    return _asked("sinfo", "--version").strip()


def _nodes() -> dict[str, ClusterNode]:
    found: dict[str, ClusterNode] = {}
    for line in _asked("sinfo", "--noheader", "--Node", "--format=%N|%P|%T|%c|%m|%G").splitlines():
        name, partition, state, cpus, memory_MB, gres = line.split("|")
        gpus: dict[str, int] = {}
        for match in GPU.finditer(gres):
            model = match["model"] or ""
            gpus[model] = gpus.get(model, 0) + int(match["count"])
        node = ClusterNode(name, state, int(cpus), int(memory_MB.rstrip("+")), gpus)
        found.setdefault(name, node).partitions.append(partition.rstrip("*"))
    return found


def _partitions() -> dict[str, Partition]:
    rows = [line.split("|") for line in _asked("sinfo", "--noheader", "--format=%P|%a|%l").splitlines()]
    rows.sort(key=lambda row: not row[0].endswith("*"))
    return {name.rstrip("*"): Partition(state == "up", _minutes(limit)) for name, state, limit in rows}


def _minutes(limit: str) -> float:
    """Return a time limit as minutes: `days-hours:minutes:seconds`, without what is zero in front; others are none."""
    if not (found := re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)):
        return math.inf  # infinite
    days, hours, minutes, seconds = (int(one or 0) for one in found.groups())
    return (days * 24 + hours) * 60 + minutes + seconds / 60


def faults(cluster: SlurmCluster, requests: Sequence[ResourceRequest]) -> Iterator[str]:
    """Yield what is wrong with requests, by the cluster's description and by SLURM's own test of a job."""
    refused: dict[tuple[str, ...], str | None] = {}
    for request in requests:
        partitions, model = cluster.partitions_of(request), request.keys.get("gpu_model")
        if unknown := [name for name in partitions if name not in cluster.partitions]:
            for name in unknown:
                known = nearest(name, list(cluster.partitions))
                yield f"slurm_partition: {name}: the cluster has no such partition{known}"
            continue
        partition = ",".join(partitions)
        if not any(cluster.partitions[name].is_up for name in partitions):
            yield f"slurm_partition: {partition}: takes no jobs now (`sinfo -s`); take another"
            continue
        longest_min = _longest_min(cluster, partitions)
        if request.minutes > longest_min and not _qos(request):
            yield (
                f"{request.stage}: its run time of {request.minutes} min is above the limit of partition {partition}, "
                f"{longest_min:g} min, so its jobs would wait for ever; lower resources.{request.stage}.runtime_min in "
                "the study or runtime in the profile, or take another slurm_partition"
            )
            continue
        nodes = [node for node in cluster.nodes.values() if node.partitions_among(partitions)]
        models = {model for node in nodes for model in node.gpus}
        if model and model not in models:
            has = nearest(str(model), sorted(models)) if models - {""} else "; its GPUs have no names"
            yield f"gpu_model: {model}: no node of partition {partition} has such a GPU{has}"
            continue
        if request.gpus and not models:
            yield (
                f"partition {partition}: no node has a GPU, but {request.stage} asks for {request.gpus}; set another "
                "slurm_partition, or `device: cpu` in the study"
            )
            continue
        try:
            options = tuple(_options(request))
        except ValueError as error:  # of shlex
            yield f"{request.stage}: slurm_extra: {request.keys['slurm_extra']}: {error}; expected options of sbatch"
            continue
        if options not in refused:
            refused[options] = _refusal(options)
        if refused[options]:
            yield (
                f"{request.stage}: SLURM refuses its jobs ({' '.join(options)}): {refused[options]}; "
                "change resources in the study, or what the profile asks for"
            )


def notes(cluster: SlurmCluster, requests: Sequence[ResourceRequest]) -> Iterator[str]:
    """Yield what may keep a job waiting though SLURM accepts it: run times above the limit of a partition."""
    for request in requests:
        partitions = cluster.partitions_of(request)
        longest_min, about = _longest_min(cluster, partitions), f"partition {','.join(partitions)}"
        if max(request.minutes, request.last_minutes) <= longest_min:
            continue
        if qos := _qos(request):
            yield (
                f"{request.stage}: its run time, up to {request.last_minutes} min, is above the limit of {about}, "
                f"{longest_min:g} min; whether QOS {qos} allows more is not checked: otherwise its jobs wait for ever"
            )
        elif request.minutes <= longest_min:
            yield (
                f"{request.stage}: its last retry asks for {request.last_minutes} min, more than the limit of {about}, "
                f"{longest_min:g} min, and would wait for ever; lower retries or the run time"
            )


def _longest_min(cluster: SlurmCluster, partitions: Sequence[str]) -> float:
    """Return the longest run time of those of the partitions that take jobs (minutes): a job may go to any of them."""
    return max(cluster.partitions[name].longest_min for name in partitions if cluster.partitions[name].is_up)


def _qos(request: ResourceRequest) -> str | None:
    """Return the quality of service that a request names: it may let jobs exceed a partition's time limit."""
    named = request.settings.get("slurm-qos") or request.keys.get("qos")
    return str(named) if named else None


def _named_partitions(request: ResourceRequest) -> list[str]:
    """Return the partitions that a request names: SLURM takes the one of a list that starts the job first."""
    return [name.strip() for name in str(request.keys.get("slurm_partition") or "").split(",") if name.strip()]


def _place(request: ResourceRequest, partitions: Sequence[str]) -> list[str]:
    """Return the options of sbatch(1) and srun(1) that say where and for whom a request's jobs run."""
    keys, settings = request.keys, request.settings
    named = {
        "partition": ",".join(partitions),
        "account": keys.get("slurm_account"),
        "qos": _qos(request),
        "reservation": settings.get("slurm-reservation"),
    }
    return [f"--{option}={value}" for option, value in named.items() if value]


def _options(request: ResourceRequest) -> list[str]:
    """Return all options of sbatch(1) for a request, as snakemake-executor-plugin-slurm writes them."""
    options = [*_place(request, _named_partitions(request)), _processors(request), *_memory(request)]
    if constraint := request.keys.get("constraint"):
        options.append(f"--constraint={constraint}")
    options += [f"--time={request.minutes}", f"--nodes={request.nodes}", f"--ntasks={request.nodes}"]
    if request.gpus and request.nodes > 1 and not request.keys.get("gres"):
        options.append(f"--gres=gpu:{request.gpus}")
    elif request.gpus and request.nodes == 1:
        model = request.keys.get("gpu_model")
        options.append(f"--gpus={model}:{request.gpus}" if model else f"--gpus={request.gpus}")
    if gres := request.keys.get("gres"):
        options.append(f"--gres={gres}")
    return [*options, *shlex.split(str(request.keys.get("slurm_extra") or ""))]


def _processors(request: ResourceRequest) -> str:
    """Return the option for the processors: the profile's number where it sets one."""
    named = str(request.keys.get("cpus_per_task") or "")
    return f"--cpus-per-task={named if named.isdecimal() else request.threads}"


def _memory(request: ResourceRequest) -> list[str]:
    """Return the option for the memory: for each processor if the profile asks so, none where it is an expression."""
    each = str(request.keys.get("mem_mb_per_cpu") or "")
    if each:
        return [f"--mem-per-cpu={each}"] if each.isdecimal() else []
    return [f"--mem={request.memory_MB}"]


def _refusal(options: Sequence[str]) -> str | None:
    """Return why SLURM would refuse a job with these options, in its words; None where it would not."""
    done = _run("sbatch", "--test-only", *options, "--wrap", "true")
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return shortened(lines[-1].removeprefix("allocation failure: ")) if lines else f"exit status {done.returncode}"


def run_on(
    node: ClusterNode, command: Sequence[str], request: ResourceRequest, wait_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a short command on a node, in the request's partition and for its account, and return its outcome.

    It is given up where the node is not free within the wait.
    """
    limits = (f"--nodelist={node.name}", "--nodes=1", "--ntasks=1", "--mem=500", "--time=5", "--chdir=/")
    place = _place(request, node.partitions_among(_named_partitions(request)))
    return _run("srun", *limits, f"--immediate={wait_s:.0f}", *place, *command, timeout_s=wait_s + 300)


def nodes_of_job() -> list[str]:
    """Return the names of the nodes of the job that this process is part of, that of this process first.

    Raises UserError where SLURM does not know the job.
    """
    own = os.environ["SLURM_JOB_ID"]
    rows = _asked("squeue", "--noheader", f"--jobs={own}", "--format=%A|%N").splitlines()
    # The last task of an array has the array's number: squeue then lists the other tasks, too.
    named = next((nodes for job, _, nodes in (row.partition("|") for row in rows) if job == own), "").strip()
    names = _asked("scontrol", "show", "hostnames", named).split() if named else []
    here = os.environ.get("SLURMD_NODENAME", os.uname().nodename)
    return sorted(names, key=lambda name: name != here)


def step_on(node: str, threads: int, gpus: int) -> list[str]:
    """Return the options of srun(1) that start one process on a node of the job that this process is part of.

    The job may have other steps there (`--overlap`). A step takes none of its job's GPUs unless it names their number.
    """
    words = ["srun", f"--jobid={os.environ['SLURM_JOB_ID']}", f"--nodelist={node}", "--nodes=1", "--ntasks=1"]
    words += [f"--cpus-per-task={threads}", "--overlap", "--input=none", "--quiet"]
    return [*words, f"--gpus={gpus}" if gpus else "--gres=none"]


def environment_of_step() -> dict[str, str]:
    """Return this process's environment without what describes its own step: srun(1) reads options from there."""
    own = ("SLURM_", "SRUN_", "SBATCH_", "CUDA_VISIBLE_DEVICES")
    return {name: value for name, value in os.environ.items() if not name.startswith(own) or name == "SLURM_CONF"}


def was_busy(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a command of `run_on` did not run, since the node was not free in time."""
    return done.returncode != 0 and any(sign in done.stderr for sign in ("nodes are busy", "has been revoked"))


def _asked(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise UserError(f"{command[0]}: not on the path; install SLURM's commands here, or load their module first")
    done = _run(*command)
    if done.returncode:
        said = shortened(done.stderr) or f"exit status {done.returncode}"
        raise UserError(f"{command[0]}: SLURM's controller does not answer ({said}); expected on a login node")
    return done.stdout


def _run(*command: str, timeout_s: float = ANSWER_S) -> subprocess.CompletedProcess[str]:
    # Inside a job the commands would take that job's limits for their own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_JOB")}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {timeout_s:.0f} s")
