"""Whether all servers of a measurement stay loaded, or one at a time."""

from dataclasses import dataclass
from typing import Literal

from greenllm.load.available_memory import available_memory
from greenllm.load.measurement_job import MeasurementJob
from greenllm.serving.bundle import model_bytes

# What a server takes beside its weights: Python with PyTorch, caches (measured here: 0.35 to 0.5 GB), and the load
# generator's 0.1 GB.
EACH_BYTES = 600e6
# Weights are held once, and a second time while they are read.
WEIGHTS = 2.0


@dataclass(frozen=True)
class Loading:
    """How servers are loaded, and why."""

    loaded: Literal["all", "one"]
    reason: str


def loading(job: MeasurementJob) -> Loading:
    """Return how the servers are loaded: as the settings say, or all where memory allows."""
    asked = job.settings.loaded
    if asked != "auto":
        return Loading(asked, f"set by deploy.loaded: {asked}")
    here = [one for one in job.contenders if one.manifest.endpoint is None]
    if job.settings.server is not None and any(job.gpus_for(one) for one in here):
        return Loading("one", "deploy.server uses a GPU: such servers take most of its memory each")
    needed_B = sum(model_bytes(one.bundle) * WEIGHTS + EACH_BYTES for one in here)
    available = available_memory()
    amounts = f"the servers need about {needed_B / 1e9:.1f} GB, {available.size_B / 1e9:.1f} GB are available"
    if available.group is not None:
        amounts += f" within the limit of the control group {available.group}"
    return Loading("all" if needed_B <= available.size_B else "one", amounts)
