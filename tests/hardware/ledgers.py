"""Ledgers of a host whose truth is known: the CPU use of its attempts, and the energy that they cost."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from greenllm.attribution import Attempt
from greenllm.attribution.records import end_record
from greenllm.attribution.records import start_record as validated
from greenllm.timestamps import rfc3339

Floats = Sequence[float] | np.ndarray[Any, Any]

CLOCK_s = 1e9  # of the wall clock at CLOCK_MONOTONIC zero
HOST_COLUMNS = ["monotonic_s", "wall_s", "busy_s", "steal_s", "cpu_s"]
RAPL: dict[str, Any] = {
    "component": "cpu",
    "device": "package-0",
    "method": "rapl",
    "quality": "measured",
    "reason": None,
    "counter": {"unit_J": 1e-6, "wrap": None, "shared": True},
    "terms": [{"parameter": "rapl.gain", "of": "counter", "factor": 1.0}],
}
CPU_MODEL: dict[str, Any] = {
    "component": "cpu",
    "device": "cpu",
    "method": "cpu-model",
    "quality": "modelled",
    "reason": None,
    "counter": None,
    "terms": [
        {"parameter": "cpu.idle", "of": "time", "factor": 4.0},
        {"parameter": "cpu.active", "of": "busy", "factor": 1.0},
    ],
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "rapl.gain": {"value": 1.0, "low": 0.95, "high": 1.05, "unit": "J/J", "source": "test"},
    "nvml.gain": {"value": 1.0, "low": 0.9, "high": 1.1, "unit": "J/J", "source": "test"},
    "cpu.idle": {"value": 2.0, "low": 1.0, "high": 3.0, "unit": "W", "source": "test"},
    "cpu.active": {"value": 5.0, "low": 2.0, "high": 9.0, "unit": "W", "source": "test"},
}


def gpu(uuid: str) -> dict[str, Any]:
    """A GPU with an energy counter in millijoules."""
    return {
        "component": "gpu",
        "device": uuid,
        "method": "nvml-energy-counter",
        "quality": "measured",
        "reason": None,
        "counter": {"unit_J": 1e-3, "wrap": None, "shared": True},
        "terms": [{"parameter": "nvml.gain", "of": "counter", "factor": 1.0}],
    }


@dataclass
class Host:
    """A host of `cpus` processors; each function of time returns a cumulative quantity."""

    cpus: int = 4
    boot_id: str = "boot-a"
    busy_s: Callable[[Any], Any] = lambda t: 0.0 * np.asarray(t)
    counters: dict[str, Callable[[Any], Any]] = field(default_factory=dict)  # device → raw counter
    sensors: list[dict[str, Any]] = field(default_factory=lambda: [RAPL])
    parameters: dict[str, dict[str, Any]] = field(default_factory=lambda: PARAMETERS)


def start_record(
    host: Host,
    job_id: str,
    *,
    reserved: float = 1,
    gpus: Sequence[str] = (),
    parent: str | None = None,
    rule: str | None = None,
    config_hash: str = "hash",
    began_s: float = 0.0,
    wildcards: dict[str, str] | None = None,
    run_id: str = "run",
    command: Sequence[str] = (),
    inputs: dict[str, Any] | None = None,
    clock_s: float = CLOCK_s,
    cwd: str | None = None,
    ledger: str | None = None,
) -> dict[str, Any]:
    columns = list(HOST_COLUMNS)
    for sensor in host.sensors:
        if sensor["counter"]:
            stem = f"{sensor['component']}/{sensor['device']}"
            columns += [f"{stem}.monotonic_s", f"{stem}.raw"]
    return {
        "record": "start",
        "schema": "greenllm/ledger/1",
        "id": job_id,
        "parent": parent,
        "cwd": cwd,
        "ledger": ledger,
        "run_id": run_id,
        "host": "node",
        "boot_id": host.boot_id,
        "cpus": host.cpus,
        "threads": int(reserved),
        "reserved_cpus": reserved,
        "gpus": [{"uuid": uuid, "index": i} for i, uuid in enumerate(gpus)],
        "gpus_requested": len(gpus),
        "job": {"rule": rule, "wildcards": wildcards or {}, "attempt": 1},
        "command": list(command),
        "config_hash": config_hash,
        "inputs": inputs,
        "interval_s": 1.0,
        "started": rfc3339(clock_s + began_s),
        "wall_s": clock_s + began_s,
        "monotonic_s": began_s,
        "columns": columns,
        "sensors": host.sensors,
        "parameters": host.parameters,
    }


def samples(host: Host, times: Floats, cpu_s: Callable[[Any], Any], clock_s: float = CLOCK_s) -> "np.ndarray[Any, Any]":
    """The readings of a meter at those times."""
    t = np.asarray(sorted(times), dtype=float)
    columns = [t, clock_s + t, host.busy_s(t) + 0 * t, 0 * t, cpu_s(t) + 0 * t]
    for sensor in host.sensors:
        if sensor["counter"]:
            columns += [t, host.counters[sensor["device"]](t) + 0 * t]
    return np.stack(columns, axis=1)


def attempt(
    host: Host,
    job_id: str,
    times: Floats,
    cpu_s: Callable[[Any], Any],
    status: str = "succeeded",
    outputs: dict[str, Any] | None = None,
    clock_s: float = CLOCK_s,
    **identity: Any,
) -> Attempt:
    """An attempt as its ledger is read. `clock_s` is the wall clock at CLOCK_MONOTONIC zero."""
    start = start_record(host, job_id, began_s=min(times), clock_s=clock_s, **identity)
    table = samples(host, times, cpu_s, clock_s)
    ended = float(max(times))
    end = {
        "record": "end",
        "status": status,
        "wall_s": clock_s + ended,
        "monotonic_s": ended,
        "cpu_s": float(table[-1, 4]),
        "exit_code": 0,
        "outputs": outputs,
    }
    return Attempt(
        start=validated(start),
        end=None if status in ("lost", "running") else end_record(end),
        status=status,
        columns={name: table[:, i] for i, name in enumerate(start["columns"])},
        path=f"node/{job_id}.jsonl",
    )


def write_ledger(folder: Path, one: Attempt) -> Path:
    """Write an attempt's ledger as the meter does."""
    path = folder / "node" / f"{one.id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.stack([one.columns[name] for name in one.start.columns], axis=1)
    lines = [asdict(one.start), *([None if np.isnan(x) else x for x in row] for row in rows.tolist())]
    lines += [asdict(one.end)] if one.end else []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def shuffled(attempts: Sequence[Attempt], random: Random) -> list[Attempt]:
    """Return attempts in another order, and each with its samples in another order."""
    found = []
    for one in random.sample(attempts, len(attempts)):
        number = len(one.columns["monotonic_s"])
        order = random.sample(range(number), number)
        found.append(dataclasses.replace(one, columns={name: values[order] for name, values in one.columns.items()}))
    return found


def piecewise(knots: Floats, rates: Floats) -> Callable[[Any], Any]:
    """The integral of a rate that is constant between knots and zero outside."""
    values = np.concatenate([[0.0], np.cumsum(np.diff(knots) * np.asarray(rates))])
    return lambda t: np.interp(t, knots, values)
