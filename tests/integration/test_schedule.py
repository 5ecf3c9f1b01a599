"""A plan, run for real on this machine: jobs start as planned, and what that saved follows from the ledgers."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compressed_signal import CompressedSignal, read, rfc3339, two_experiments, unix
from hardware.simulated import clean_environment

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOW_S = (20.0, 40.0)  # after the begin
TARGET = ("--until", "preprocess")


def run(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    env = clean_environment(folder)  # with leases of its own: it waits for no other job of this machine
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two experiments whose data are prepared once at once, then again by a plan."""
    folder = tmp_path_factory.mktemp("schedule")
    study = two_experiments(folder, max_delay="60s")
    place = ("--snakefile", ROOT / "Snakefile", "--directory", folder)
    configured = ("--configfile", study)
    called_s = time.time()
    run(folder, BIN / "snakemake", *place, *configured, "--cores", 8, *TARGET)
    # The plan must be made before its begin. It takes about as long as this first run, whose jobs take some seconds.
    begin_s = time.time() + 10 + 2 * (time.time() - called_s)
    CompressedSignal(begin_s, *LOW_S).write(folder / "signal.csv")
    again = ("--forcerun", "collect", *TARGET)
    run(folder, BIN / "greenllm", "plan", *configured, "--begin", rfc3339(begin_s), "--", *place, *again)
    assert time.time() < begin_s, "the machine is too busy for this test"
    run(folder, BIN / "snakemake", *place, *configured, "--cores", 8, *again)
    run(folder, BIN / "greenllm", "account", "--config", study, "--out", folder / "results/account")
    return folder


def test_jobs_wait_and_start_within_two_seconds_of_the_plan(folder):
    planned = {job["name"]: job for job in read(folder / "results/plan/plan.json")["jobs"]}
    done = {job["name"]: job for job in read(folder / "results/account/schedule.json")["jobs"]}
    assert (
        set(planned)
        == set(done)
        == {f"{rule} {name}" for rule in ("collect", "preprocess") for name in ("support", "dates")}
    )
    for name, job in planned.items():
        assert abs(unix(done[name]["runs"][0]["start"]) - unix(job["runs"][0]["start"])) < 2, name
    assert max(unix(job["runs"][0]["start"]) - unix(job["at_once"]["start"]) for job in planned.values()) > 10


def test_the_wait_is_in_the_energy_log_and_costs_nothing(folder):
    log = read(folder / "results/energy/collect/support.json")
    assert log["held_s"] > 10
    assert abs(unix(log["started"]) - log["planned_s"]) < 2
    assert log["duration_s"] < log["held_s"]
    assert "waiting until" in (folder / "logs/collect/support.log").read_text()


def test_the_saving_is_the_ledgers_energy_times_the_signal(folder):
    found = read(folder / "results/account/schedule.json")
    begin_s = unix(read(folder / "results/plan/plan.json")["begin"])
    saving = CompressedSignal(begin_s, *LOW_S).saving(folder / "results/account")
    assert found["saving"]["value"] > 0
    assert found["saving"]["value"] == pytest.approx(saving, rel=1e-3)
    assert found["best_saving"] == pytest.approx(found["saving"]["value"] + found["regret"])
    assert found["regret"] >= 0
    assert found["late_s"] == 0


def test_verify_computes_the_saving_again(folder):
    path = folder / "results/account/schedule.json"
    content = path.read_text()

    def said() -> str:
        words = [BIN / "greenllm", "verify", folder / "results"]
        return subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, timeout=300).stdout

    assert "schedule.json: jobs" not in said()
    found = json.loads(content)
    found["jobs"][0]["cost"]["value"] *= 1.001
    path.write_text(json.dumps(found))
    assert f"account/schedule.json: jobs[{found['jobs'][0]['name']}].cost.value: differs" in said()
    path.write_text(content)
