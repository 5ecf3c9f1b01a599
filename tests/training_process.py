"""`greenllm train` in a separate process, which a test can kill."""

import os
import re
import subprocess
import sys

import pytest


def start(command, work=None):
    environment = os.environ | ({"GREENLLM_WORK": str(work)} if work else {})
    return subprocess.Popen(
        [sys.executable, "-m", "greenllm", *command], env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for_checkpoint(process):
    """Read the training's output until its first checkpoint is written."""
    said = ""
    for line in process.stderr:
        said += line
        if re.search(r"checkpoint of step \d+ written", line):
            return
    pytest.fail(f"no checkpoint was written:\n{said}")
