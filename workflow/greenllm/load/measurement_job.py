"""The inputs and outputs of one measurement side by side."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from greenllm.config.models import Deployment
from greenllm.device_choice import DeviceChoice
from greenllm.load.processes import metered
from greenllm.model_folder.manifest import Manifest, read_manifest

TWIN = "~twin"


@dataclass(frozen=True)
class Contender:
    """One server to measure: of a recipe, or the second one of the baseline (its twin)."""

    name: str
    recipe: str
    bundle: Path
    predictions: Path
    """Written by `greenllm evaluate`: the prompts to send, and the answers to expect."""
    device: DeviceChoice
    python: str

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the bundle."""
        return read_manifest(self.bundle)


@dataclass(frozen=True)
class MeasurementJob:
    """The servers, settings and outputs of a measurement: of one experiment and seed."""

    contenders: Sequence[Contender]
    baseline: str
    wildcards: Mapping[str, str]
    """Experiment and seed."""
    settings: Deployment
    max_tokens: int
    """Longest answer, in tokens."""
    threads: int
    """Processors that the job reserves: the most threads of a server."""
    ready_s: float
    """Longest start of another server."""
    seed: int
    """Seed of the order in each block."""
    energy_serve: Path
    energy_load: Path
    energy_probe: Path
    out: Path

    @property
    def gpus(self) -> int:
        """The number of GPUs that the meter has leased for this job."""
        return len([index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index])

    def gpus_for(self, contender: Contender) -> int:
        """Return how many of the job's GPUs a server may use. Whether it does, it says itself when it is ready."""
        return 0 if contender.device == "cpu" else self.gpus

    def meter(self, rule: str, contender: Contender, log: Path, *options: str) -> list[str]:
        """Return the beginning of a command line: the meter of a server, a load generator or a probe.

        It reserves no processors and holds no GPU. Those that the job reserves count for the server whose turn it is.
        A server on the CPU sees no GPU.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        hidden = ("--gpus", "0") if contender.device == "cpu" else ()
        return metered(rule, {**self.wildcards, "recipe": contender.name}, log, *hidden, *options)
