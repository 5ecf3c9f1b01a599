"""Leases: many jobs ask for few GPUs at the same time."""

import subprocess
import time

from hardware.simulated import SimulatedGpu

from meter_rows.row import Row
from meter_rows.workbench import GREENLLM, Workbench

JOBS, GPUS, LONGEST_s = 64, 2, 300
# Holds each of its GPUs by a folder of that name, which only one job can make; exit status 9: another job holds it.
JOB = """
for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , ' '); do mkdir "$0/$gpu" || exit 9; done
sleep 0.1
for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , ' '); do rmdir "$0/$gpu"; done
"""


def many_want_two(bench: Workbench) -> list[Row]:
    """64 jobs at the same time, of which every fourth asks for both GPUs."""
    jobs = JOBS // 4 if bench.quick else JOBS
    environment = bench.environment([SimulatedGpu()] * GPUS)
    held = bench.folder / "held"
    held.mkdir(exist_ok=True)
    wanted = [2 if number % 4 == 0 else 1 for number in range(jobs)]
    began_s = time.monotonic()
    running = [
        subprocess.Popen(
            [*GREENLLM, "meter", "--gpus", str(count), "--", "sh", "-c", JOB, str(held)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        for count in wanted
    ]
    statuses = []
    for job in running:
        try:
            statuses.append(job.wait(max(0.0, began_s + LONGEST_s - time.monotonic())))
        except subprocess.TimeoutExpired:
            job.terminate()
            statuses.append(None)
    took_s = time.monotonic() - began_s
    two_holders, starved = statuses.count(9), statuses.count(None)
    ended = sum(status == 0 for status in statuses)
    text = f"{ended} of {jobs} ended well in {took_s:.1f} s; {two_holders} found two holders, {starved} starved"
    no_leases = "has no leases"
    what = f"{jobs} jobs at once want {GPUS} GPUs, {wanted.count(2)} of them both"
    return [Row(what, text, no_leases, no_leases, "all end, never two holders", ended == jobs)]
