"""The nodes of the cluster job that this process is part of, and how a command is started on one of them."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from greenllm.cluster import slurm
from greenllm.cluster.assignment import scheduler_of


@dataclass(frozen=True)
class Launch:
    """A command that runs another one on a node, and its environment variables."""

    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Launcher:
    """How a scheduler's job starts commands on its nodes.

    `names` returns the names of its nodes, that of this process first. `launch` returns what runs a command on the node
    of that name with the number of processors and of GPUs.
    """

    names: Callable[[], list[str]]
    launch: Callable[[str, Sequence[str], int, int], Launch]


def launcher_of(environment: Mapping[str, str] = os.environ) -> Launcher | None:
    """Return how the job of this process starts commands on its nodes; None outside a cluster, or if it is unknown."""
    scheduler = scheduler_of(environment)
    return LAUNCHERS.get(scheduler.name) if scheduler else None


def _on_slurm(node: str, command: Sequence[str], threads: int, gpus: int) -> Launch:
    return Launch([*slurm.step_on(node, threads, gpus), *command], slurm.environment_of_step())


LAUNCHERS: Mapping[str, Launcher] = {"SLURM": Launcher(slurm.nodes_of_job, _on_slurm)}
