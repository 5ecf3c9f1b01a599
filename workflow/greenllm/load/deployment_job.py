"""The inputs and outputs of one deployment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from greenllm.config.models import Deployment, Evaluation
from greenllm.device_choice import DeviceChoice
from greenllm.load.processes import metered
from greenllm.model_folder.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class DeploymentJob:
    """The inputs, settings and outputs of a deployment. Model, predictions and evaluation are of one recipe."""

    task: str
    model: Path
    predictions: Path
    """Written by `greenllm evaluate`: the prompts to send, and the answers to expect."""
    evaluation: Path
    """Written by `greenllm evaluate`, for the model card."""
    data: Path | None
    """Folder of `greenllm preprocess`, for its scripted replies."""
    wildcards: Mapping[str, str]
    """Experiment, recipe and seed."""
    settings: Deployment
    answers: Evaluation
    """Evaluation settings: longest answer, and the confidence below which a person takes over."""
    threads: int
    device: DeviceChoice
    ready_s: float
    """Longest start of another server."""
    bundle: Path
    energy_serve: Path
    energy_load: Path
    out: Path

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the bundle, once that is made."""
        return read_manifest(self.bundle)

    @property
    def gpus(self) -> int:
        """The number of GPUs that the meter has leased for this job."""
        return len([index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index])

    def server_meter(self, *options: str) -> list[str]:
        """Return the beginning of the server's command line: its meter."""
        return metered("serve", self.wildcards, self.energy_serve, "--threads", str(self.threads), *options)
