"""The processor's energy: RAPL shared by many jobs, and the model where there is no RAPL."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hardware.simulated import PowercapTree, SimulatedGpu

from meter_rows.row import Row, percent
from meter_rows.workbench import GREENLLM, Workbench

COUNTED, SHARE, MODELLED = 0.002, 0.02, 0.01
SEED = 1
LOAD = Path(__file__).with_name("load.py")
# The processors that all loads together keep busy: fewer than there are, so that each load gets what it needs.
BUSY_PART = 0.7
PACKAGES = [SimulatedGpu(low_W=20, high_W=80, period_s=11), SimulatedGpu(low_W=30, high_W=90, period_s=7, phase=0.4)]


def rapl(bench: Workbench) -> list[Row]:
    """1, 4 and 16 jobs at once on two sockets, staggered; of 4 and more, every fourth job and one meter are killed."""
    rows = []
    for jobs in (4,) if bench.quick else (1, 4, 16):
        tree = _powercap(bench.folder / f"sys-{jobs}")
        with tree.running():
            rows += _shared(bench, tree, jobs)
    return rows


def _powercap(root: Path) -> PowercapTree:
    zones = {f"intel-rapl:{i}": (f"package-{i}", package.energy_J) for i, package in enumerate(PACKAGES)}
    tree = PowercapTree(root, zones)
    # as in sysfs, where CodeCarbon and Zeus search for it
    control = root / "class/powercap/intel-rapl"
    control.mkdir()
    for zone in zones:
        (control / zone).symlink_to(f"../{zone}")
    (control / "subsystem").symlink_to("..")
    return tree


def _packages_J(from_s: float, until_s: float) -> float:
    return sum(package.energy_J(until_s) - package.energy_J(from_s) for package in PACKAGES)


def _shared(bench: Workbench, tree: PowercapTree, jobs: int) -> list[Row]:
    chance = random.Random(SEED)
    environment = bench.environment(sysfs=tree.root)
    seconds = 6.0 if bench.quick else 12.0
    part = BUSY_PART * (os.cpu_count() or 1) / jobs if jobs > 1 else BUSY_PART
    meters: list[subprocess.Popen[bytes]] = []
    for number in range(jobs):
        name, length_s = f"load-{jobs}-{number}", seconds * chance.uniform(0.8, 1.2)
        load = [sys.executable, "-S", "-E", str(LOAD), str(part), str(length_s), str(bench.folder / name)]
        if number % 4 == 3:
            load.append("killed")
        # separate locks for each: all run at once, as in containers that do not share locks
        own = environment | {"GREENLLM_LOCKS": str(bench.folder / f"{name}.locks")}
        meters.append(subprocess.Popen([*GREENLLM, "meter", "--rule", name, "--", *load], env=own))
        time.sleep(chance.uniform(0.0, 0.4))
    time.sleep(seconds / 3)
    for meter in meters[2::4]:
        meter.kill()
    for meter in meters:
        meter.wait()
    result = bench.attributed(environment, "--policy", "active")
    counted, least_J = _counted(result, environment)
    worst = max((_share_error(job, bench.folder / job["rule"], environment) for job in result["jobs"]), key=abs)
    what = f"RAPL, 2 sockets, {jobs} job{'s' if jobs > 1 else ''} at once"
    peers = {tool: _trackers(bench, tool, tree, min(jobs, 4)) for tool in ("codecarbon", "zeus")}
    truth, reported = f"{what}: counted against the truth", percent(counted, 3)
    not_shared = ("counts the whole host for each",) * 2
    return [
        Row(truth, reported, *peers.values(), "within 0.2 %", abs(counted) <= COUNTED),
        Row("… least part of a device", f"{least_J:.2f} J", "", "", "none negative", least_J >= 0),
        Row("… worst share (active)", percent(worst), *not_shared, "within 2 %", abs(worst) <= SHARE),
    ]


def _counted(result: dict[str, Any], environment: dict[str, str]) -> tuple[float, float]:
    """Return the counted energy's relative error against the packages' integral, and the least part of a device (J)."""
    (host,) = result["hosts"]
    devices = [device for device in host["devices"] if device["component"] == "cpu"]
    edges = [_edges(environment, job["id"]) for job in result["jobs"]]
    truth_J = _packages_J(min(first for first, _ in edges), max(last for _, last in edges))
    parts = [device[part] for device in devices for part in ("jobs_J", "other_J", "idle_J")]
    parts += [c["energy_J"]["value"] for job in result["jobs"] for c in job["components"] if c["component"] == "cpu"]
    return sum(device["counted_J"] for device in devices) / truth_J - 1, min(parts)


def _share_error(job: dict[str, Any], log: Path, environment: dict[str, str]) -> float:
    """A job's energy against its truth: the packages' power times its own CPU time over that of all processors."""
    table = np.array([line.split() for line in log.read_text().splitlines() if line.count(" ") == 1], dtype=float)
    first_s, last_s = _edges(environment, job["id"])
    grid = np.arange(first_s, last_s, 0.01)
    used_s = np.interp(grid, table[:, 0], table[:, 1], left=0.0)
    power_W = np.diff([_packages_J(0, t) for t in grid]) / 0.01
    truth_J = float(power_W @ np.diff(used_s)) / (os.cpu_count() or 1)
    energy_J = sum(c["energy_J"]["value"] for c in job["components"] if c["component"] == "cpu")
    return float(energy_J / truth_J - 1)


def _edges(environment: dict[str, str], job_id: str) -> tuple[float, float]:
    """CLOCK_MONOTONIC of a ledger's first and last whole sample, in seconds."""
    (path,) = Path(environment["GREENLLM_LEDGER"]).glob(f"*/{job_id}.jsonl")
    samples = [line for line in path.read_text().split("\n")[:-1] if line.startswith("[")]
    return tuple(float(line[1:].split(",", 1)[0]) for line in (samples[0], samples[-1]))  # type: ignore[return-value]


def _trackers(bench: Workbench, tool: str, tree: PowercapTree, count: int) -> str:
    """What `count` trackers of a tool count together, as a multiple of the truth. They read the simulated /sys."""
    if os.geteuid():
        return "needs root: reads only /sys"
    mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /sys/class && exec "$@"', str(tree.root / "class")]
    seconds = "3" if bench.quick else "10"
    command = ["sleep", seconds]
    running = [bench.peer(tool, bench.environment(), command, prefix=mount) for _ in range(count)]
    reported = [bench.reported(one) for one in running]
    trouble = next((one["error"] for one in reported if "error" in one), None)
    if trouble or any(not one["cpu_J"] for one in reported):
        return trouble or "finds no RAPL"
    times = sum(one["cpu_J"] / _packages_J(one["from_s"], one["until_s"]) for one in reported)
    return f"{times:.2f} times ({count} tracker{'s' if count > 1 else ''})"


def modelled(bench: Workbench) -> list[Row]:
    """The host's modelled energy over the same time, by one meter and by 16 that watch it together."""
    meters, seconds = (4, 6) if bench.quick else (16, 15)
    environment = bench.environment()
    load = [sys.executable, "-S", "-E", str(LOAD), "0.8", str(seconds), str(bench.folder / "load-modelled")]
    first = _start(bench, environment, 0, load)  # begins before all others, and ends after them
    time.sleep(1.5)
    others = [_start(bench, environment, number, ["sleep", str(seconds / 3)]) for number in range(1, meters)]
    for meter in (first, *others):
        meter.wait()
    (path,) = (
        path for path in Path(environment["GREENLLM_LEDGER"]).glob("*/*.jsonl") if '"meter-0"' in path.read_text()
    )
    alone = bench.folder / "alone" / path.parent.name
    alone.mkdir(parents=True)
    shutil.copy(path, alone)
    together_J = _host_J(bench.attributed(environment))
    alone_J = _host_J(bench.attributed(environment, ledger=alone.parent))
    off = together_J / alone_J - 1
    what = f"modelled CPU: host's energy by {meters} meters against 1"
    zeus = "measures no processor without RAPL"
    return [Row(what, percent(off, 3), _codecarbon(bench), zeus, "within 1 %", abs(off) <= MODELLED)]


def _start(
    bench: Workbench, environment: dict[str, str], number: int, command: Sequence[str]
) -> "subprocess.Popen[bytes]":
    own = environment | {"GREENLLM_LOCKS": str(bench.folder / f"modelled-{number}.locks")}
    return subprocess.Popen([*GREENLLM, "meter", "--rule", f"meter-{number}", "--", *command], env=own)


def _host_J(result: dict[str, Any]) -> float:
    (host,) = result["hosts"]
    return float(sum(device["counted_J"] for device in host["devices"] if device["component"] == "cpu"))


def _codecarbon(bench: Workbench) -> str:
    """What 4 busy trackers report together, as a multiple of what one reports, per second."""
    seconds = "3" if bench.quick else "10"
    watts = []
    for count in (1, 4):
        load = [sys.executable, "-S", "-E", str(LOAD), "0.9", seconds, os.devnull]
        reported = [
            bench.reported(one) for one in [bench.peer("codecarbon", bench.environment(), load) for _ in range(count)]
        ]
        if trouble := next((one["error"] for one in reported if "error" in one), None):
            return str(trouble)
        watts.append(sum(one["cpu_J"] / (one["until_s"] - one["from_s"]) for one in reported))
    return f"4 busy trackers: {watts[1] / watts[0]:.1f} times one"
