"""The work that a job has done, reported to its meter: the R of E = C/R."""

import os
from pathlib import Path

from greenllm.files import write_json


def write_work(**amounts: float) -> None:
    """Write amounts of work (`tokens`, `samples`, `flops`, `requests`) to the file named by `$GREENLLM_WORK`.

    Without a meter around the job nothing is written.
    """
    if target := os.environ.get("GREENLLM_WORK"):
        write_json(Path(target), amounts)
