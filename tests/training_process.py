"""`greenllm train` in a separate process, which a test can kill."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from narrowing import Piped


def start(command: list[str], work: Path | None = None) -> Piped:
    """Start a training; it reports its amounts of work in the file `work`, where one is named."""
    environment = os.environ | ({"GREENLLM_WORK": str(work)} if work else {})
    return Piped([sys.executable, "-m", "greenllm", *command], env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(process: Piped) -> None:
    """Read the training's output until its first checkpoint is written."""
    said = ""
    for line in process.stderr:
        said += line
        if re.search(r"checkpoint of step \d+ written", line):
            return
    pytest.fail(f"no checkpoint was written:\n{said}")
