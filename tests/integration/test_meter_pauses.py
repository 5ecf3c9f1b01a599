"""A command that pauses under `greenllm meter --plan`: it leaves what it holds, and goes on in its next stretch."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hardware.simulated import SimulatedGpu, clean_environment, compile_nvml, gpu_environment
from metering import meter, start

from greenllm.attribution import attribute

FIRST_S, PAUSE_S = 4.0, 3.0  # the first stretch, of which the command needs hardly a moment, and the pause after it
# Says what it reads and which of its standard streams are open; pauses at once, in a stretch that has a pause.
JOB = """
import os, sys
print(sys.stdin.readline().strip(), *(os.path.exists(f"/proc/self/fd/{n}") for n in range(3)), flush=True)
sys.exit(75 if "GREENLLM_PAUSE_AT" in os.environ else 0)
"""


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a job did that holds all processors and the only GPU, and how one fared that asked for them in its pause."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler for the simulated NVML")
    folder = tmp_path_factory.mktemp("paused")
    env = clean_environment(folder) | gpu_environment(compile_nvml(folder), [SimulatedGpu(processes=1)])
    begin_s = time.time()
    again_s = begin_s + FIRST_S + PAUSE_S
    runs = [{"start": at(begin_s), "end": at(begin_s + FIRST_S)}, {"start": at(again_s), "end": at(again_s + 60)}]
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"jobs": [{"rule": "train", "wildcards": {}, "runs": runs}]}))
    everything = ("--threads", 4096, "--gpus", 1)
    options = ("--rule", "train", "--plan", plan, *everything)
    with start(*options, "--", sys.executable, "-c", JOB, env=env) as running:
        running.stdin.write("one line\n")
        running.stdin.flush()
        first_line = running.stdout.readline()
        other = meter("--ledger", folder / "other", "--wait", 2, *everything, "--", "true", env=env)
        ended_s = time.time()
        try:
            rest, messages = running.communicate("another\n", timeout=30)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    assert running.returncode == 0, messages
    return {
        "jobs": attribute(folder / "ledger").jobs,
        "again_s": again_s,
        "printed": [first_line, *rest.splitlines(keepends=True)],
        "other": other,
        "other_ended_s": ended_s,
    }


def at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


def test_a_command_that_pauses_early_waits_for_its_next_stretch(paused: dict[str, Any]) -> None:
    assert [job.status for job in paused["jobs"]] == ["paused", "succeeded"]
    assert paused["jobs"][1].attempt.start.wall_s == pytest.approx(paused["again_s"], abs=2)


def test_a_paused_job_holds_no_processor_and_no_gpu(paused: dict[str, Any]) -> None:
    assert paused["other"].returncode == 0, paused["other"].stderr
    assert paused["other_ended_s"] < paused["again_s"]


def test_each_stretch_has_the_standard_streams(paused: dict[str, Any]) -> None:
    assert paused["printed"] == ["one line True True True\n", "another True True True\n"]
