"""What the jobs of a stage ask a cluster for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ResourceRequest:
    """The request of a stage's jobs. Memory in MB, run time in minutes; threads, memory and GPUs are of each node.

    `keys`: the profile's resources for the stage, by their names in the profile, such as a partition. `settings`: the
    profile's other keys, such as those of the executor. `last_minutes` is the run time of the last retry.
    """

    stage: str
    threads: int
    memory_MB: int
    minutes: int
    gpus: int
    keys: Mapping[str, Any]
    nodes: int = 1
    last_minutes: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
