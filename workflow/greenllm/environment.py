"""The environment variables that the workflow's jobs inherit, on this machine or through SLURM."""

import os
import sys
import uuid
from pathlib import Path

# Has the effect of `python -P` on every Python that is started from here.
SAFE_PATH = "PYTHONSAFEPATH"


def set_for_jobs(interval_s: float) -> None:
    """Set what every job of this invocation of the workflow needs.

    The running interpreter comes first on PATH, so that an unactivated .venv is enough; a rule's own conda environment
    puts its interpreter before it, and finds the package through PYTHONPATH. `interval_s` is the time between two
    readings of the meter. All attempts of one invocation share GREENLLM_RUN_ID; a job on a node inherits it.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    here = str(Path(__file__).parents[1])
    # An empty entry is the current folder, and so is what `python -m` puts first: a file json.py there is not Python's.
    inherited = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", here)]
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *inherited])
    os.environ[SAFE_PATH] = "1"
    os.environ["GREENLLM_METER_INTERVAL_S"] = str(interval_s)
    os.environ.setdefault("GREENLLM_RUN_ID", str(uuid.uuid4()))
