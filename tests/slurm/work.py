"""What a job of the Snakefile here does: `work.py JOB ATTEMPT OUTPUT`. In its first attempt it gets into trouble."""

import os
import socket
import sys
import time
from pathlib import Path

LONG_s = 600.0


def work(job: str, attempt: int, output: Path) -> None:
    first = attempt == 1
    if job.startswith("large"):
        held = bytearray(900_000_000)  # more than the first attempt's memory, less than the second's
        time.sleep(LONG_s if first else 3)
        del held
    elif first and job.startswith(("long", "cancelled", "lost", "waiting")):
        output.with_suffix(".started").write_text(f"{socket.gethostname()} {os.environ['SLURM_JOB_ID']}\n")
        time.sleep(LONG_s)
    else:
        time.sleep(2)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    output.write_text(f"{socket.gethostname()} {gpus}\n")


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
