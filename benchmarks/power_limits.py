"""Is the power limit of a GPU restored, however its job ends? A hundred runs on simulated GPUs, ended at random.

    python benchmarks/power_limits.py [--runs 100] [--seed 1]

Each run sets a limit of two GPUs and is sent SIGTERM or SIGKILL, to the meter alone or with its job, at a random time
of its start, its job or its end. The limits must then be as before: after SIGTERM at once, after SIGKILL when the next
meter of the host has run, which holds no GPU. In every third run a second job waits for the GPUs, with another limit.
Exit status 1 if a limit is not restored. Needs a C compiler.
"""

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hardware.simulated import SimulatedGpu, clean_environment, compile_nvml, gpu_environment

METER = [sys.executable, "-m", "greenllm", "meter"]
BEFORE_W = 700
SHOW = """
import pynvml
pynvml.nvmlInit()
for i in range(pynvml.nvmlDeviceGetCount()):
    print(pynvml.nvmlDeviceGetPowerManagementLimit(pynvml.nvmlDeviceGetHandleByIndex(i)) // 1000)
"""
# A run is ended within this time (s): its meter takes about 0.2 s to set the limit, and its job lasts up to a second.
LONGEST_S = 1.2


def limits_W(environment: dict[str, str]) -> list[int]:
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def one_run(environment: dict[str, str], chance: random.Random, with_second: bool) -> tuple[str | None, bool]:
    """Return how a run was ended (None: it was over before), and whether the limits are as before."""
    options = ["--gpus", "2", "--rule", "limited", "--power-limit"]
    command = ["--", "sleep", str(chance.uniform(0, 1))]
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen([*METER, *options, str(chance.randint(200, 699)), *command], process_group=0, **quiet)
    second = subprocess.Popen([*METER, *options, "250", *command], process_group=0, **quiet) if with_second else None
    time.sleep(chance.uniform(0, LONGEST_S))
    by = chance.choice([signal.SIGTERM, signal.SIGKILL])
    whole = chance.random() < 0.5
    ended = None
    if first.poll() is None:
        os.killpg(first.pid, by) if whole else first.send_signal(by)
        ended = f"{by.name} to {'the group' if whole else 'the meter'}"
    first.wait()
    if second is not None:
        second.wait()
    time.sleep(0 if whole else LONGEST_S)  # until the job of a killed meter has ended
    if by == signal.SIGKILL:
        subprocess.run([*METER, "--", "true"], check=True, **quiet)
    return ended, limits_W(environment) == [BEFORE_W, BEFORE_W]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance, endings, restored = random.Random(arguments.seed), dict[str, int](), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpu = SimulatedGpu(low_W=600, high_W=600, limit_W=BEFORE_W, min_limit_W=200, max_limit_W=BEFORE_W)
        environment = clean_environment(folder) | gpu_environment(compile_nvml(folder), [gpu, gpu])
        for number in itertools.count():
            ended, as_before = one_run(environment, chance, with_second=number % 3 == 2)
            if ended is not None:
                endings[ended] = endings.get(ended, 0) + 1
                restored += as_before
            if not as_before:
                print(f"run {number}, ended by {ended}: {limits_W(environment)} W")
            if sum(endings.values()) == arguments.runs:
                break
    print(f"restored in {restored} of {arguments.runs} runs; ended by", endings)
    return 0 if restored == arguments.runs else 1


if __name__ == "__main__":
    sys.exit(main())
