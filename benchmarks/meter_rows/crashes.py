"""The samples that are left after SIGKILL."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from meter_rows.row import Row
from meter_rows.workbench import GREENLLM, Workbench

KILLS, AT_ONCE, INTERVAL_s, SEED = 100, 4, 0.1, 1
LOST_PERIODS = 1.2
PEER_KILLS = 3
# Saves its measurements as documented, and is killed while the job runs.
CODECARBON = """
import sys, time
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(
    country_iso_code="DEU",
    output_dir=sys.argv[1],
    measure_power_secs=0.1,
    log_level="critical",
    allow_multiple_runs=True,
)
tracker.start()
print("ready", flush=True)
time.sleep(60)
"""


def killed_at_random(bench: Workbench) -> list[Row]:
    """The meter is killed at a random time, every second time together with its job."""
    chance = random.Random(SEED)
    kills = KILLS // 10 if bench.quick else KILLS
    environment = bench.environment(interval_s=INTERVAL_s)
    ledger = Path(environment["GREENLLM_LEDGER"])
    lost_s: list[float] = []
    for first in range(0, kills, AT_ONCE):
        batch = range(first, min(first + AT_ONCE, kills))
        meters = [_start(environment, bench.folder / f"locks-{number}") for number in batch]
        for number, meter in zip(batch, meters, strict=True):
            assert meter.stdout is not None
            job_pid = int(meter.stdout.readline())
            time.sleep(chance.uniform(0.1, 1.1))
            killed_s = time.monotonic()
            meter.kill()
            if number % 2:
                os.kill(job_pid, signal.SIGKILL)
            meter.wait()
            if not number % 2:
                os.kill(job_pid, signal.SIGKILL)
            lost_s.append(killed_s - _last_sample_s(ledger, meter.pid))
    result = bench.attributed(environment)
    readable = sum(job["status"] == "lost" and job["energy_J"] is not None for job in result["jobs"])
    periods = np.array(lost_s) / INTERVAL_s
    text = f"at most {periods.max():.2f}, median {np.median(periods):.2f}; {readable} of {kills} files readable"
    what = f"SIGKILL at a random time, {kills} times: sampling periods lost"
    met = periods.max() <= LOST_PERIODS and readable == kills
    zeus = "keeps a window in memory until it ends: all lost"
    return [Row(what, text, _codecarbon(bench), zeus, f"at most {LOST_PERIODS}, every file readable", bool(met))]


def _start(environment: dict[str, str], locks: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*GREENLLM, "meter", "--", "sh", "-c", "echo $$; exec sleep 60"],
        env=environment | {"GREENLLM_LOCKS": str(locks)},  # for each kill: all processors are free
        stdout=subprocess.PIPE,
        text=True,
    )


def _last_sample_s(ledger: Path, meter_pid: int) -> float:
    """CLOCK_MONOTONIC of the last whole sample in a meter's ledger."""
    for path in ledger.glob("*/*.jsonl"):
        first, *lines = path.read_text().split("\n")[:-1]  # what follows the last line break is torn
        if json.loads(first)["pid"] == meter_pid:
            return float(json.loads(lines[-1])[0])
    raise FileNotFoundError(f"{ledger}: no ledger of meter {meter_pid}")


def _codecarbon(bench: Workbench) -> str:
    if bench.peers is None:
        return "not asked (--no-peers)"
    kept = 0
    for number in range(PEER_KILLS):
        folder = bench.folder / f"codecarbon-{number}"
        folder.mkdir()
        command = [str(bench.peers), "-c", CODECARBON, str(folder)]
        tracker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert tracker.stdout is not None
        if "ready\n" not in iter(tracker.stdout.readline, ""):  # after its other messages
            return "does not start"
        time.sleep(1)
        tracker.kill()
        tracker.wait()
        kept += any(folder.glob("*.csv"))
        shutil.rmtree(folder)
    return f"{PEER_KILLS - kept} of {PEER_KILLS} left no file: all lost"
