"""`greenllm plan` refuses a signal, a deadline or a budget that does not fit: one line, and no plan is written."""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from compressed_signal import two_experiments

ROOT = Path(__file__).parents[2]
GREENLLM = Path(sys.executable).with_name("greenllm")
ZONE = " (America/New_York)"


def write_signal(folder: Path, hours: list[int], zone: str = "") -> None:
    """Write a signal with these hours (UTC) after the present one; with a zone, as local times without an offset."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    times = [now + timedelta(hours=hour) for hour in hours]
    rows = [f"{time.replace(tzinfo=None) if zone else time:%Y-%m-%dT%H:%M:%S%z},400" for time in times]
    (folder / "signal.csv").write_text("\n".join([f"time{zone},value (gCO2e/kWh)", *rows]))


def in_hours(hours: float) -> str:
    return datetime.fromtimestamp(time.time() + 3600 * hours, UTC).isoformat()


@pytest.mark.parametrize(
    ("hours", "zone", "policy", "said"),
    [
        (range(-1, 3), "", {"deadline": 8}, "signal.csv: covers .* but jobs may run until .*; get a longer forecast"),
        ([-1, 0, 1, 5, 6, 7, 8, 9], "", {"deadline": 8}, "signal.csv: has no values from .* to .*; fill the gap"),
        (range(-1, 9), ZONE, {"deadline": 8}, "signal.csv: covers .* but jobs may start at .* correct the time zone"),
        (range(-1, 9), "", {"deadline": -1}, "policy.deadline: .* is in the past"),
        (range(-1, 9), "", {"max_delay": "2h", "power_budget_W": 3}, "study.yaml: power budget: 3 W, but .* alone is"),
    ],
    ids=["short", "gap", "zone", "past", "budget"],
)
def test_the_command_refuses(tmp_path, hours, zone, policy, said):
    write_signal(tmp_path, list(hours), zone)
    if "deadline" in policy:
        policy = {"deadline": in_hours(policy["deadline"])}
    study = two_experiments(tmp_path, **policy)
    place = ["--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command = [GREENLLM, "plan", "--configfile", study, "--", *place]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert re.search(said, line), line
    assert not (tmp_path / "results/plan").exists()


def test_a_plan_that_could_not_be_written_is_refused_before_snakemake_is_asked(tmp_path):
    write_signal(tmp_path, list(range(-1, 9)))
    study = two_experiments(tmp_path, max_delay="2h")
    command = [GREENLLM, "plan", "--configfile", study, "--out", "/proc/none/plan.json", "--", "--no-such-option"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "/proc/none: can't write to /proc" in line
