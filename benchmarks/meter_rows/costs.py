"""What metering costs: start and stop, memory, CPU time while sampling, and the job's own speed."""

import signal
import statistics
import subprocess
import sys
import time

import attribution
import numpy as np

from greenllm.meter.process_tree import own_cpu_s
from meter_rows.row import Row, percent
from meter_rows.workbench import GREENLLM, PEERS, Workbench

START_s, RESIDENT_MB = 0.15, 30
SAMPLING_CPU_s, PROCESSES, LONG_s = 0.1, 50, 60
SLOWER = 0.005
NORMAL_MEDIAN = 1.2533  # a median's standard error over a mean's, of normal deviates
ONE_SIDED_95 = 1.645
BLOCK_s = 2.0
# Records when each step ended, in seconds of CLOCK_MONOTONIC.
TRAINING = """
import sys, time
import torch
torch.manual_seed(1)
torch.set_num_threads(2)
model = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.GELU(), torch.nn.Linear(2048, 512))
optimizer = torch.optim.AdamW(model.parameters())
data = torch.randn(256, 512)
with open(sys.argv[1], "w") as file:
    print("ready", flush=True)
    until = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < until:
        optimizer.zero_grad()
        (model(data) - data).square().mean().backward()
        optimizer.step()
        print(time.monotonic(), file=file)
"""
SCALE_s, SCALE_GB = 10, 2
MANY = f"for i in $(seq {PROCESSES}); do sleep 1000 & done; echo ready; wait"


def start_and_stop(bench: Workbench) -> list[Row]:
    """The time that a meter adds to `true`, without a GPU: medians of turns; and its peak of resident memory."""
    environment, turns = bench.environment(), 5 if bench.quick else 40
    bare, metered = [], []
    for _ in range(turns):
        bare.append(_seconds(["true"], environment))
        metered.append(_seconds([*GREENLLM, "meter", "--", "true"], environment))
    added_s = statistics.median(np.array(metered) - np.array(bare))
    resident_MB = _peak_MB_of_meter(environment)
    peers = {tool: _peer_start(bench, tool, environment) for tool in ("codecarbon", "zeus")}
    return [
        Row(
            "start and stop, added to `true`",
            f"{added_s:.3f} s",
            *(seconds for seconds, _ in peers.values()),
            f"at most {START_s} s",
            added_s <= START_s,
        ),
        Row(
            "resident memory, peak",
            f"{resident_MB:.1f} MB",
            *(memory for _, memory in peers.values()),
            f"at most {RESIDENT_MB} MB",
            resident_MB <= RESIDENT_MB,
        ),
    ]


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _peak_MB_of_meter(environment: dict[str, str]) -> float:
    """The meter's VmHWM, read by its job: that of the job's parent."""
    job = ["sh", "-c", "sleep 1.5; grep VmHWM /proc/$PPID/status"]
    done = subprocess.run(
        [*GREENLLM, "meter", "--", *job], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout.split()[1]) / 1e3


def _peer_start(bench: Workbench, tool: str, environment: dict[str, str]) -> tuple[str, str]:
    reported = bench.reported(bench.peer(tool, environment, ["true"]))
    if "error" in reported:
        return reported["error"], ""
    command = [str(bench.peers), str(PEERS), tool, "true"]
    bare = [str(bench.peers), "-c", "pass"]
    seconds = [_seconds(command, environment) - _seconds(bare, environment) for _ in range(3)]
    return f"{statistics.median(seconds):.1f} s", f"{reported['peak_MB']:.0f} MB"


def sampling(bench: Workbench) -> list[Row]:
    """CPU time of sampling a job with 50 processes at 1 Hz."""
    seconds = 10 if bench.quick else LONG_s
    environment = bench.environment()
    meter = subprocess.Popen(
        [*GREENLLM, "meter", "--", "sh", "-c", MANY],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert meter.stdout is not None
    meter.stdout.readline()
    time.sleep(1)
    before_s = own_cpu_s(meter.pid)
    time.sleep(seconds)
    after_s = own_cpu_s(meter.pid)
    meter.terminate()
    meter.wait()
    assert before_s is not None
    assert after_s is not None
    used_s = after_s - before_s
    reported = bench.reported(bench.peer("codecarbon", environment, ["sleep", str(seconds)]))
    codecarbon = reported.get("error") or f"{reported['sampling_cpu_s']:.3f} s"
    zeus = "samples nothing between a window's ends"
    wanted_s = SAMPLING_CPU_s * seconds / LONG_s
    what = f"CPU time while sampling at 1 Hz for {seconds} s, {PROCESSES} processes"
    return [Row(what, f"{used_s:.3f} s", codecarbon, zeus, f"at most {wanted_s:.3g} s", used_s <= wanted_s)]


def attribution_at_scale(bench: Workbench) -> list[Row]:
    """`greenllm attribute` over generated ledgers: 1,000 attempts of an hour at 1 Hz on 50 hosts."""
    hosts = attribution.HOSTS // (10 if bench.quick else 1)
    samples, _, seconds, peak_GB = attribution.measure(hosts, attribution.ATTEMPTS)
    what = f"attribution: {hosts * attribution.ATTEMPTS:,} attempts on {hosts} hosts, {samples:,} samples"
    text = f"{seconds:.1f} s, {peak_GB:.2f} GB"
    none = ("attributes nothing",) * 2
    met = seconds <= SCALE_s and peak_GB <= SCALE_GB
    return [Row(what, text, *none, f"at most {SCALE_s} s and {SCALE_GB} GB", met)]


def slowdown(bench: Workbench) -> list[Row]:
    """How much longer the steps of a training with 2 threads take while its meter runs than while it is stopped.

    The meter is stopped and continued in turns of two samples each, so that other work of the machine affects both.
    """
    pairs = 5 if bench.quick else 75
    script, steps = bench.folder / "training.py", bench.folder / "steps"
    script.write_text(TRAINING)
    training = [sys.executable, str(script), str(steps), str((2 * pairs + 2) * BLOCK_s)]
    meter = subprocess.Popen(
        [*GREENLLM, "meter", "--threads", "2", "--", *training],
        env=bench.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert meter.stdout is not None
    meter.stdout.readline()
    time.sleep(BLOCK_s)
    edges_s = [time.monotonic()]
    for block in range(2 * pairs):
        meter.send_signal(signal.SIGSTOP if block % 2 else signal.SIGCONT)
        time.sleep(BLOCK_s)
        edges_s.append(time.monotonic())
    meter.send_signal(signal.SIGCONT)
    if meter.wait():
        sys.exit(f"greenllm meter: exit status {meter.returncode} after it was stopped and continued")
    done = np.array(steps.read_text().split(), dtype=float)
    per_second = np.diff(np.searchsorted(done, edges_s)) / np.diff(edges_s)
    ratios = per_second[1::2] / per_second[0::2] - 1
    median = float(np.median(ratios))
    error = NORMAL_MEDIAN * float(ratios.std()) / pairs**0.5
    text = f"{percent(median)} (standard error {100 * error:.2f} %)"
    met = True if median + ONE_SIDED_95 * error <= SLOWER else False if median - ONE_SIDED_95 * error > SLOWER else None
    text += "" if met is not None else ": not resolvable here"
    what = f"slow-down of a 2-thread training, {pairs} pairs of {BLOCK_s:g} s"
    return [Row(what, text, "not asked", "not asked", f"at most {100 * SLOWER:g} %", met)]
