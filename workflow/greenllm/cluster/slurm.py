"""What a SLURM cluster has and accepts, asked through SLURM's own commands."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from greenllm.errors import UserError, shortened

PROGRAMS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
# The longest wait for an answer of the controller (s): clients give up by themselves after MessageTimeout, 10 s.
ANSWER_S = 60.0
# States in which a node takes jobs, now or when others have ended (sinfo(1), NODE STATE CODES).
USABLE = ("idle", "mixed", "allocated", "completing")
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

    @property
    def is_usable(self) -> bool:
        """Whether it takes jobs; a flag after the state means that it does not answer or is about to go."""
        return self.state in USABLE


def lacking(status_command: str) -> list[str]:
    """Return the programs that a workflow on SLURM calls and that are not on the path."""
    return [name for name in dict.fromkeys((*PROGRAMS, status_command)) if shutil.which(name) is None]


def version() -> str:
    """Return the version of SLURM's commands, as `slurm 23.11.4`."""
    return _asked("sinfo", "--version").strip()


def nodes() -> dict[str, ClusterNode]:
    """Return the cluster's nodes by name. Raises UserError where the controller does not answer."""
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


def partitions() -> dict[str, bool]:
    """Return the cluster's partitions: whether each accepts jobs. The first is the default one, if there is one."""
    rows = [line.split("|") for line in _asked("sinfo", "--noheader", "--format=%P|%a").splitlines()]
    rows.sort(key=lambda row: not row[0].endswith("*"))
    return {name.rstrip("*"): state == "up" for name, state in rows}


def refusal(options: Sequence[str]) -> str | None:
    """Return why SLURM would refuse a job with these options of sbatch(1), in its words; None where it would not."""
    done = _run("sbatch", "--test-only", *options, "--wrap", "true")
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return shortened(lines[-1].removeprefix("allocation failure: ")) if lines else f"exit status {done.returncode}"


def run_on(
    node: str, command: Sequence[str], options: Sequence[str], wait_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command on a node and return its outcome. It is given up where the node is not free within the wait."""
    limits = (f"--nodelist={node}", "--nodes=1", "--ntasks=1", "--time=5", "--chdir=/", f"--immediate={wait_s:.0f}")
    return _run("srun", *limits, *options, *command, timeout_s=wait_s + 300)


def was_busy(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a command of `run_on` did not run, since the node was not free in time."""
    return done.returncode != 0 and any(sign in done.stderr for sign in ("nodes are busy", "has been revoked"))


def _asked(*command: str) -> str:
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
