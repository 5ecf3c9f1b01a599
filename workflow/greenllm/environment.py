"""The environment variables that the workflow's jobs inherit, on this machine or on a cluster."""

import os
import sys
import uuid
from pathlib import Path

# Has the effect of `python -P` on every Python that a job starts.
SAFE_PATH = "PYTHONSAFEPATH"


def set_for_jobs(interval_s: float) -> str:
    """Set what every job of this invocation of the workflow needs, and return the invocation's id.

    The running interpreter is first on PATH, so that an unactivated .venv is enough. A rule's conda environment puts
    its interpreter before it, and finds the package through PYTHONPATH. `interval_s` is the time between two readings
    of the meter. All attempts of one invocation share GREENLLM_RUN_ID; a job on a node inherits it.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    here = str(Path(__file__).parents[1])
    # No empty entry: it means the current folder, which `python -m` adds too. A json.py there would hide Python's own.
    inherited = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", here)]
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *inherited])
    os.environ[SAFE_PATH] = "1"
    os.environ["GREENLLM_METER_INTERVAL_S"] = str(interval_s)
    return os.environ.setdefault("GREENLLM_RUN_ID", str(uuid.uuid4()))
