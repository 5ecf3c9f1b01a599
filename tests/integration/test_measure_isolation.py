"""Loaded servers that wait cost the one that answers nothing: their processor time is hardly more than none."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from deploying import answers_of, make_bundle, measure, rows_of, write_predictions

# The project aims at 0.005; other work on the host, such as tests side by side, must not fail this test.
MOST_PROCESSORS = 0.02
# Time between two readings (s).
POLL_s = 0.25


def server_trees(stage: psutil.Process) -> dict[str, list[psutil.Process]]:
    """Return the processes of each server and of its load generator, with their meters, by the server's name."""
    trees: dict[str, list[psutil.Process]] = {}
    for meter in stage.children():
        words = meter.cmdline()
        name = next(word.removeprefix("recipe=") for word in words if word.startswith("recipe="))
        trees.setdefault(name, []).extend([meter, *meter.children(recursive=True)])
    return trees


def running_time_s(process: psutil.Process) -> float:
    """Return the time that a process's threads have run, to the nanosecond (schedstat, first field)."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel has no scheduler statistics")
def test_servers_that_wait_take_hardly_any_processor_time(
    fp32: Path, int8: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for name, model in (("baseline", fp32), ("int8", int8)):
        make_bundle(model, name, tmp_path)
        write_predictions(tmp_path / f"{name}.jsonl", rows_of(answers_of(model)))
    names = ["baseline", "int8", "baseline~twin"]
    readings: list[tuple[float, dict[str, float]]] = []
    environment = {"GREENLLM_METER_INTERVAL_S": "1"}
    rounds: dict[str, Any] = {"rounds": 4, "requests": 4, "round_s": 2, "idle_s": 0, "twin": True}
    with measure(tmp_path, names[:2], subprocess.Popen, environment=environment, **rounds) as meter:
        while meter.poll() is None:
            try:
                stages = [child for child in psutil.Process(meter.pid).children() if "measure" in child.cmdline()]
                trees = server_trees(stages[0]) if stages else {}
                times_s = {name: sum(map(running_time_s, tree)) for name, tree in trees.items()}
                readings.append((time.monotonic(), times_s))
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError, StopIteration):
                pass  # a process has just begun or ended
            time.sleep(POLL_s)
    assert meter.returncode == 0
    written = json.loads((tmp_path / "measurement.json").read_text())
    watched_s = spent_s = 0.0
    for server in written["servers"]:
        for window in (one["window"] for one in server["points"][0]["rounds"]):
            within = [one for one in readings if window["monotonic_start_s"] <= one[0] <= window["monotonic_end_s"]]
            (first_s, before), (last_s, after) = within[0], within[-1]
            watched_s += last_s - first_s
            spent_s += sum(after[name] - before[name] for name in names if name != server["name"])
    record_property("processors", spent_s / watched_s)
    print(f"{len(names) - 1} servers that wait take {spent_s / watched_s:.2%} of a processor")
    assert watched_s > 10
    assert spent_s <= MOST_PROCESSORS * watched_s
