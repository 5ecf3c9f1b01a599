"""`greenllm plan` on a study without ledgers, where run times are rough: the plan never costs more than no plan."""

import json
import math
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from compressed_signal import two_experiments

ROOT = Path(__file__).parents[2]
GREENLLM = Path(sys.executable).with_name("greenllm")
KEPT = "No schedule was found that costs less, so jobs start as they would without a plan."


@pytest.mark.parametrize(("lowest_h", "kept"), [(-2.0, True), (12.0, False)], ids=["rises", "falls"])
def test_a_plan_costs_no_more_than_starting_at_once(tmp_path, lowest_h, kept):
    """The signal swings between 100 and 300 gCO2e/kWh within a day, with its lowest value some hours from now."""
    now = datetime.now(UTC)
    rows = ["time,value (gCO2e/kWh)"]
    for step in range(-30, 600):
        hours = step / 10
        value = 200 - 100 * math.cos(2 * math.pi * (hours - lowest_h) / 24)
        rows.append(f"{(now + timedelta(hours=hours)).isoformat()},{value}")
    (tmp_path / "signal.csv").write_text("\n".join(rows))
    study = two_experiments(tmp_path, deadline=(now + timedelta(hours=20)).isoformat())
    place = ["--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command = [GREENLLM, "plan", "--configfile", study, "--cores", 4, "--", *place]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "results/plan/plan.json").read_text())
    assert plan["starts_at_once"] == kept == (KEPT in done.stdout)
    assert (plan["saving"]["value"] > 0) != kept
    if kept:
        assert plan["cost"] == plan["cost_at_once"]
        assert all(job["runs"] == [job["at_once"]] for job in plan["jobs"])


def test_a_plan_says_which_jobs_have_other_settings_than_in_their_earlier_runs(tmp_path):
    now = datetime.now(UTC)
    rows = [f"{(now + timedelta(hours=hour)).isoformat()},300" for hour in range(-2, 48)]
    (tmp_path / "signal.csv").write_text("\n".join(["time,value (gCO2e/kWh)", *rows]))
    study = two_experiments(tmp_path, deadline=(now + timedelta(hours=20)).isoformat())
    place = ("--snakefile", ROOT / "Snakefile", "--directory", tmp_path, "--until", "preprocess")

    def run(*words: object) -> str:
        done = subprocess.run(list(map(str, words)), cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sources() -> dict[str, str]:
        plan = json.loads((tmp_path / "results/plan/plan.json").read_text())
        return {job["name"]: job["source"] for job in plan["jobs"]}

    run(GREENLLM.with_name("snakemake"), "--configfile", study, "--cores", 2, *place)
    content = json.loads(study.read_text())
    content["experiments"]["dates"]["data"]["rows"] = 400
    study.write_text(json.dumps(content))
    said = run(GREENLLM, "plan", "--configfile", study, "--", *place)
    assert sources() == {f"{rule} dates": "1 earlier run, with other settings" for rule in ("collect", "preprocess")}
    assert "2 jobs, or jobs before them, have other settings than in their earlier runs" in said
    run(GREENLLM, "plan", "--configfile", study, "--", *place, "--forcerun", "collect")
    assert sources()["collect support"] == "1 earlier run"


def test_the_account_needs_the_recorded_signal_for_the_runs_alone(tmp_path):
    """One job runs right after the plan; what was recorded ends an hour later, long before the deadline."""
    now = datetime.now(UTC)
    for name, hours in (("signal", 48), ("recorded", 1), ("short", -1)):
        rows = [f"{(now + timedelta(hours=hour)).isoformat()},{300 - 2 * hour}" for hour in range(-2, hours + 1)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,value (gCO2e/kWh)", *rows]))

    def run(*words: object) -> str:
        done = subprocess.run([GREENLLM, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stderr

    results = tmp_path / "results"
    study = two_experiments(tmp_path, deadline=(now + timedelta(hours=20)).isoformat())
    place = ("--snakefile", ROOT / "Snakefile", "--directory", tmp_path, "--until", "collect")
    run("plan", "--configfile", study, "--", *place)
    job = ("--rule", "collect", "--wildcard", "experiment=support")
    run("meter", "--ledger", results / "ledger", "--out", tmp_path / "log.json", *job, "--", "true")
    schedule = results / "account/schedule.json"
    for recorded in ("recorded", "short"):
        two_experiments(
            tmp_path, deadline=(now + timedelta(hours=20)).isoformat(), recorded=str(tmp_path / f"{recorded}.csv")
        )
        said = run("account", "--config", study, "--out", results / "account")
        if recorded == "recorded":
            found = json.loads(schedule.read_text())
            assert found["recorded"]
            assert [one["name"] for one in found["jobs"]] == ["collect support"]
            assert "what the plan saved is unknown" not in said
    assert not schedule.exists()
    assert re.search("short.csv: covers .* in policy.recorded with the values from then on, and run `greenllm", said)
