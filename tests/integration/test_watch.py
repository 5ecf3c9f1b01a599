"""`greenllm watch`: a running workflow, seen through its results folder while meters write to it."""

import dataclasses
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware.ledgers import CPU_MODEL, RAPL, Host, attempt, gpu, piecewise, write_ledger
from metering import BURN, GREENLLM, meter, start
from narrowing import Piped, known

from greenllm.attribution import attribute
from greenllm.cli import main
from greenllm.ledger.run_file import PlannedJob, RunFile, read_runs
from greenllm.meter.host import boot_id, host_name

BEGIN_AND_DIE = """
import os, sys
from pathlib import Path
from greenllm.ledger.run_file import PlannedJob, RunFile
run = RunFile(Path(sys.argv[1]), "now", sys.argv[2], "an earlier boot", [PlannedJob.of("train", {"seed": 1})])
os._exit(1)
"""
READY = ["sh", "-c", "echo ready; read line"]  # until its stdin, ours, ends


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    """The environment of the jobs of the run `now`, whose meters sample often."""
    return env | {"GREENLLM_METER_INTERVAL_S": "0.05", "GREENLLM_RUN_ID": "now"}


def watched(results: Path) -> Any:
    """Return one frame of a results folder."""
    command = [*GREENLLM, "watch", str(results), "--once", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def begun(results: Path, jobs: Sequence[tuple[str, Mapping[str, object]]], run_id: str = "now") -> RunFile:
    """Begin the file of a run with these jobs, as the workflow does."""
    planned = [PlannedJob.of(rule, wildcards) for rule, wildcards in jobs]
    return RunFile(results / "runs", run_id, host_name(), boot_id(), planned)


def train(seed: int) -> list[str]:
    return ["--rule", "train", "--wildcard", "experiment=e", "--wildcard", f"seed={seed}"]


def burn(seed: int, env: Mapping[str, str], seconds: float = 0.3) -> float:
    """Run a job; return the energy of its log (J)."""
    log = Path(env["GREENLLM_LEDGER"]).parent / f"{seed}.json"
    done = meter(*train(seed), "--out", log, "--", "python", "-c", BURN.format(seconds=seconds), env=env)
    assert done.returncode == 0, done.stderr
    return float(json.loads(log.read_text())["energy_J"]["value"])


def begin(seed: int, tmp_path: Path, env: Mapping[str, str]) -> Piped:
    """Start a job, and wait until it has samples."""
    running = start(*train(seed), "--", *READY, env=env)
    assert running.stdout.readline() == "ready\n"
    (path,) = (one for one in (tmp_path / "ledger").glob("*/*.jsonl") if f'"{seed}"' in one.read_text().split("\n")[0])
    enough = path.read_bytes().count(b"\n") + 10
    while path.read_bytes().count(b"\n") < enough and running.poll() is None:
        time.sleep(0.01)
    return running


def test_jobs_are_shown_by_state_while_they_run(tmp_path, env):
    burn(1, env)
    failed = meter(*train(2), "--", "false", env=env)
    assert failed.returncode == 1
    run = begun(tmp_path, [("train", {"experiment": "e", "seed": seed}) for seed in range(1, 6)])
    running = begin(3, tmp_path, env)
    frame = watched(tmp_path)
    (shown,) = frame["runs"]
    assert frame["running"]
    assert shown["run_id"] == "now"
    assert shown["jobs"] == {"running": 1, "silent": 0, "waiting": 2, "failed": 1, "done": 1, "total": 5}
    (job,) = shown["attempts"]
    assert (job["rule"], job["wildcards"]["seed"], job["state"]) == ("train", "3", "running")
    assert 0 < job["energy_J"]["value"] < shown["energy_J"]["value"]
    (host,) = frame["hosts"]
    assert host["jobs"] == 1
    # the host draws at least what is the job's part of it
    assert host["power_W"]["low"] < host["power_W"]["value"] < host["power_W"]["high"]
    assert host["power_W"]["value"] >= job["power_W"] * 0.999 > 0
    running.communicate("\n")
    run.end(succeeded=False)
    after = watched(tmp_path)
    assert not after["running"]
    assert after["hosts"] == []
    (ended,) = after["runs"]
    assert ended["jobs"] == {"running": 0, "silent": 0, "waiting": 2, "failed": 1, "done": 2, "total": 5}


def test_joules_so_far_are_those_of_energy_logs_and_of_what_still_runs(tmp_path, env):
    ended_J = sum(burn(seed, env) for seed in (1, 2))
    running = begin(3, tmp_path, env)
    os.kill(running.pid, signal.SIGSTOP)  # the meter: its ledger stays as it is
    try:
        (run,) = watched(tmp_path)["runs"]
        (job,) = (one for one in attribute(tmp_path / "ledger").jobs if one.status == "running")
    finally:
        os.kill(running.pid, signal.SIGCONT)
        running.communicate("")
    running_J = known(job.energy).value
    assert run["attempts"][0]["energy_J"]["value"] == pytest.approx(running_J)
    assert run["energy_J"]["value"] == pytest.approx(ended_J + running_J)
    assert run["energy_J"]["low"] < run["energy_J"]["value"] < run["energy_J"]["high"]
    assert run["energy_J"]["unknown_attempts"] == 0


def test_what_is_left_follows_from_earlier_jobs_with_an_interval(tmp_path, env):
    before = env | {"GREENLLM_RUN_ID": "before"}
    took = [burn(seed, before) for seed in (1, 2, 3)]
    run = begun(tmp_path, [("train", {"experiment": "e", "seed": seed}) for seed in (4, 5)])
    (shown,) = watched(tmp_path)["runs"]
    energy, time_s = shown["left"]["energy_J"], shown["left"]["time_s"]
    assert energy["unknown"] == time_s["unknown"] == {}
    assert energy["value"] == pytest.approx(2 * sum(took) / 3)
    assert energy["low"] < energy["value"] < energy["high"]
    assert 0.6 < time_s["value"] < 20
    assert time_s["low"] <= time_s["value"] <= time_s["high"]
    run.end(succeeded=True)


def test_a_training_that_failed_after_a_checkpoint_counts_with_the_attempt_that_went_on_from_it(tmp_path, env):
    before, log = env | {"GREENLLM_RUN_ID": "before"}, tmp_path / "failed.json"
    at_checkpoint = 'import json, os; json.dump({"samples": 10}, open(os.environ["GREENLLM_WORK"], "w"))\n'
    script = at_checkpoint + BURN.format(seconds=0.3) + "raise SystemExit(1)"
    assert meter(*train(1), "--out", log, "--", "python", "-c", script, env=before).returncode == 1
    took_J = json.loads(log.read_text())["energy_J"]["value"] + burn(1, before)
    run = begun(tmp_path, [("train", {"experiment": "e", "seed": 2})])
    assert watched(tmp_path)["runs"][0]["left"]["energy_J"]["value"] == pytest.approx(took_J)
    run.end(succeeded=True)


def test_what_no_earlier_job_says_stays_unknown(tmp_path, env):
    burn(1, env | {"GREENLLM_RUN_ID": "before"})
    run = begun(tmp_path, [("train", {"experiment": "e", "seed": 2}), ("measure", {"experiment": "e"})])
    left = watched(tmp_path)["runs"][0]["left"]
    # one earlier job does not say how much jobs differ
    assert left["energy_J"]["value"] > 0
    assert (left["energy_J"]["low"], left["energy_J"]["high"]) == (None, None)
    assert left["energy_J"]["unknown"] == left["time_s"]["unknown"] == {"measure": 1}
    run.end(succeeded=True)


def test_a_job_without_earlier_ones_leaves_nothing_known(tmp_path, env):
    (tmp_path / "ledger").mkdir()
    run = begun(tmp_path, [("train", {"seed": 1})])
    (shown,) = watched(tmp_path)["runs"]
    assert shown["left"]["energy_J"] == {"value": None, "low": None, "high": None, "unknown": {"train": 1}}
    assert shown["jobs"]["waiting"] == 1
    run.end(succeeded=True)


@pytest.mark.parametrize(("host", "goes_on"), [(host_name(), False), ("another", True)])
def test_a_run_from_before_this_host_was_started_again_does_not_go_on(tmp_path, env, host, goes_on):
    (tmp_path / "ledger").mkdir()
    command = [sys.executable, "-c", BEGIN_AND_DIE, str(tmp_path / "runs"), host]
    assert subprocess.run(command, env=env).returncode == 1
    (shown,) = watched(tmp_path)["runs"]
    assert shown["goes_on"] is goes_on


def test_a_job_whose_meter_was_killed_does_not_run(tmp_path, env):
    running = begin(1, tmp_path, env)
    running.kill()
    running.wait(timeout=60)
    frame = watched(tmp_path)
    assert not frame["running"]
    assert frame["runs"][0]["jobs"] | {"total": 0} == {
        "running": 0, "silent": 0, "waiting": None, "failed": 1, "done": 0, "total": 0,
    }  # fmt: skip
    assert frame["runs"][0]["energy_J"]["value"] > 0
    running.stdin.close()


@pytest.mark.parametrize(("age_s", "state"), [(5.0, "running"), (-5.0, "running"), (600.0, "silent")])
def test_on_another_host_a_job_without_fresh_samples_is_silent(age_s, state, tmp_path):
    """A negative age: that host's clock is ahead of this one."""
    host = Host(boot_id="another", counters={"package-0": piecewise([0, 100], [20e6])})
    now_s = time.time()
    one = attempt(
        host, "far", np.arange(0.0, 61.0), lambda t: t, status="running", rule="train", run_id="now",
        clock_s=now_s - age_s - 60,
    )  # fmt: skip
    write_ledger(tmp_path / "ledger", one)
    frame = watched(tmp_path)
    (run,) = frame["runs"]
    assert run["jobs"][state] == 1
    assert frame["running"] == (state == "running")
    (shown,) = run["attempts"]
    assert shown["silent_s"] == pytest.approx(max(0.0, age_s), abs=20)
    assert (shown["power_W"] is None) == (state == "silent")
    assert [one["power_W"]["value"] for one in frame["hosts"]] == ([pytest.approx(20)] if state == "running" else [])


def power_of(results: Path) -> tuple[Any, Any]:
    """Return the power of the only host and of the only job that runs there (W)."""
    frame = watched(results)
    (host,), (job,) = frame["hosts"], frame["runs"][0]["attempts"]
    return host["power_W"], job["power_W"]


@pytest.mark.parametrize("unread", [slice(None, -3), slice(-7, None)], ids=["until 3 s ago", "for 7 s now"])
def test_unknown_time_does_not_lower_the_power(unread, tmp_path):
    host = Host(boot_id="another", busy_s=lambda t: 1.0 * t, counters={"package-0": lambda t: 100e6 * t})  # 100 W
    one = attempt(host, "far", np.arange(0.0, 101.0), lambda t: t, status="running", clock_s=time.time() - 100)
    one.columns["cpu/package-0.raw"][unread] = np.nan
    write_ledger(tmp_path / "ledger", one)
    host_W, job_W = power_of(tmp_path)
    assert host_W["value"] == pytest.approx(100)
    assert job_W is None  # its part is known for a part of the time alone


def test_the_power_is_unknown_where_a_device_was_not_read_in_all_the_time(tmp_path):
    counters = {"package-0": lambda t: 100e6 * t, "GPU-1": lambda t: 50e3 * t}
    host = Host(boot_id="another", sensors=[RAPL, gpu("GPU-1")], counters=counters)
    one = attempt(host, "far", np.arange(0.0, 101.0), lambda t: t, status="running", clock_s=time.time() - 100)
    one.columns["cpu/package-0.raw"][-20:] = np.nan
    write_ledger(tmp_path / "ledger", one)
    assert power_of(tmp_path) == (None, None)


def test_a_gpu_that_is_read_since_a_moment_ago_counts_with_all_its_power(tmp_path):
    without = Host(boot_id="another", sensors=[CPU_MODEL], busy_s=lambda t: 1.0 * t)
    with_gpu = dataclasses.replace(without, sensors=[CPU_MODEL, gpu("GPU-1")], counters={"GPU-1": lambda t: 100e3 * t})
    jobs = {"long": (without, 0.0, []), "new": (with_gpu, 98.0, ["GPU-1"])}
    for name, (host, began_s, gpus) in jobs.items():
        times = np.arange(began_s, 101.0)
        clock_s = time.time() - 100
        one = attempt(host, name, times, lambda t: 0.0 * t, status="running", clock_s=clock_s, gpus=gpus)
        write_ledger(tmp_path / "ledger", one)
    (shown,) = watched(tmp_path)["hosts"]
    assert shown["power_W"]["value"] == pytest.approx(4 * 2 + 1 * 5 + 100)  # as modelled; and the GPU


def test_a_torn_last_line_does_no_harm(tmp_path, env):
    running = begin(1, tmp_path, env)
    (path,) = (tmp_path / "ledger").glob("*/*.jsonl")
    os.kill(running.pid, signal.SIGSTOP)
    try:
        with path.open("ab") as file:
            file.write(b"[1234.5,17")
        run = begun(tmp_path, [("train", {"experiment": "e", "seed": 1})])
        with (tmp_path / "runs/now.jsonl").open("ab") as file:
            file.write(b'{"record":"e')
        (shown,) = watched(tmp_path)["runs"]
    finally:
        os.kill(running.pid, signal.SIGCONT)
        running.communicate("")
    assert shown["jobs"]["running"] == 1
    assert shown["attempts"][0]["energy_J"]["value"] > 0
    del run


def test_two_workflows_at_once_are_both_shown(tmp_path, env):
    runs = [begun(tmp_path, [("train", {"seed": 1})], run_id) for run_id in ("one", "two")]
    assert [run["run_id"] for run in watched(tmp_path)["runs"]] == ["one", "two"]
    runs[0].end(succeeded=True)
    assert [run["run_id"] for run in watched(tmp_path)["runs"]] == ["two"]
    runs[1].end(succeeded=True)


def test_a_workflow_that_was_killed_is_not_taken_for_a_running_one(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom greenllm.ledger.run_file import RunFile\n"
        "from greenllm.meter.host import boot_id\n"
        f"file = RunFile(Path({str(tmp_path / 'runs')!r}), 'now', 'here', boot_id(), [])\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
    )
    workflow = Piped(
        [GREENLLM[0], "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert workflow.stdout.readline() == "ready\n"
    assert watched(tmp_path)["running"]
    workflow.kill()
    workflow.communicate()
    assert not watched(tmp_path)["running"]


def test_a_terminal_shows_one_screen_and_then_the_next(tmp_path, env):
    running = begin(1, tmp_path, env)
    ours, theirs = pty.openpty()
    watching = subprocess.Popen([*GREENLLM, "watch", str(tmp_path), "--every", "0.1"], stdout=theirs, env=env)
    os.close(theirs)
    text = b""
    while text.count(b"\x1b[H\x1b[J") < 3:
        text += os.read(ours, 4096)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=60) == 130
    os.close(ours)
    running.communicate("")
    frame = text.decode().split("\x1b[H\x1b[J")[1]
    assert "1 running" in frame
    assert "running  train e 1 on" in frame
    assert len(frame.splitlines()) < 24


def test_nothing_runs(tmp_path, env, capsys):
    burn(1, env)
    assert main(["watch", str(tmp_path), "--once"]) == 0
    text = capsys.readouterr().out
    assert "nothing runs; the last run now, began" in text
    assert "1 done" in text


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "no such results folder"), (".", "neither ledger/ nor")])
def test_a_folder_that_is_none_is_refused_in_one_line(folder, message, tmp_path, capsys):
    assert main(["watch", str(tmp_path / folder), "--once"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("greenllm watch: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_workflow_says_which_jobs_it_is_to_run(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            GREENLLM[0], "-m", "snakemake", "--cores", "2", "--configfile", "config/tiny.yaml",
            "--config", f"results={tmp_path}", "--", f"{tmp_path}/data/support/collected",
        ],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = read_runs(tmp_path / "runs")
    assert run.jobs == (PlannedJob.of("collect", {"experiment": "support"}),)
    assert (run.succeeded, run.locked, run.host) == (True, False, host_name())
    frame = watched(tmp_path)
    assert frame["runs"][0]["jobs"] == {"running": 0, "silent": 0, "waiting": 0, "failed": 0, "done": 1, "total": 1}
