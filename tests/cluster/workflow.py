"""Workflows on the cluster, started as a user starts them, and the states of their jobs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardware.simulated import clean_environment

from cluster.node import Node
from cluster.slurm import SlurmCluster

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
LONGEST_S = 900  # of a workflow
JOBS = ROOT / "tests/slurm/Snakefile"  # jobs that get into trouble


class Workflow:
    """A workflow on the cluster, in a folder that all nodes see. It has the project's profile."""

    def __init__(self, cluster: SlurmCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.environment = clean_environment(folder, **cluster.environment)
        self._running: subprocess.Popen[str] | None = None

    def start(self, *options: str, snakefile: Path = ROOT / "Snakefile") -> None:
        place = ["--snakefile", f"{snakefile}", "--directory", f"{self.folder}"]
        with self._log().open("w") as log:
            self._running = subprocess.Popen(
                [SNAKEMAKE, *place, "--workflow-profile", f"{ROOT}/profiles/slurm", *options],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def wait(self) -> int:
        """Wait for the workflow's end; return its exit status."""
        assert self._running is not None
        return self._running.wait(timeout=LONGEST_S)

    def is_running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, while the workflow runs."""
        until_s = time.monotonic() + LONGEST_S
        while not condition():
            assert self.is_running(), self.log
            assert time.monotonic() < until_s, self.log
            time.sleep(0.1)

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal signals the whole group of processes."""
        assert self._running is not None
        os.killpg(self._running.pid, signal.SIGINT)

    def run(self, *options: str, snakefile: Path = ROOT / "Snakefile") -> None:
        """Run the workflow to its end, which must be a success."""
        self.start(*options, snakefile=snakefile)
        assert self.wait() == 0, self.log

    @property
    def log(self) -> str:
        return self._log().read_text()

    def _log(self) -> Path:
        return self.folder / "snakemake.log"


@dataclass(frozen=True)
class SlurmJob:
    """A job as SLURM has it: the wildcards' values, the memory asked for (MB), the time limit (minutes), the state."""

    id: str
    comment: str
    memory_MB: int
    minutes: int
    state: str
    node: str


def slurm_jobs(cluster: SlurmCluster) -> list[SlurmJob]:
    """Return all jobs that the controller knows, in the order of their submission."""
    lines = cluster.run("squeue", "--noheader", "--states=all", "--sort=i", "--format=%i|%k|%m|%l|%T|%N").splitlines()
    jobs = []
    for line in lines:
        number, comment, memory, limit, state, node = line.split("|")
        days, _, clock = limit.rpartition("-")  # a job without a limit has the partition's, 1-00:00:00
        minutes = sum(int(part) * 60**power for power, part in enumerate(reversed(clock.split(":")))) // 60
        minutes += 24 * 60 * int(days or 0)
        memory_MB = int(memory.rstrip("GM")) * (1024 if memory.endswith("G") else 1)
        jobs.append(SlurmJob(number, comment.rpartition("wildcards_")[2], memory_MB, minutes, state, node))
    return jobs


def started(workflow: Workflow, job: str) -> tuple[Node, str]:
    """Wait until a job of the Snakefile runs; return its node and its number in SLURM."""
    path = workflow.folder / f"{job}.started"
    workflow.wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
    name, number = path.read_text().split()
    return next(node for node in workflow.cluster.nodes if node.name == name), number
