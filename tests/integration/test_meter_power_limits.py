"""`greenllm meter --power-limit` on simulated GPUs: set, recorded, and restored however the job ends."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hardware.simulated import SimulatedGpu, compile_nvml, gpu_environment, gpu_uuid, mig_uuid
from metering import meter, start, the_ledger
from narrowing import Piped, known

from greenllm.attribution import attribute

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")

# Prints the limits of all GPUs (W), or sets that of the first.
LIMITS = """
import pynvml, sys
pynvml.nvmlInit()
cards = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
if sys.argv[1:]:
    pynvml.nvmlDeviceSetPowerManagementLimit(cards[0], int(sys.argv[1]) * 1000)
print(*[pynvml.nvmlDeviceGetPowerManagementLimit(card) // 1000 for card in cards], flush=True)
"""
SHOW = [sys.executable, "-c", LIMITS]


def limits(environment: dict[str, str], *set_W: int) -> list[int]:
    """Return the limits (W) that are in force, after setting that of the first GPU if one is given."""
    words = [*SHOW, *map(str, set_W)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


@pytest.fixture
def gpus(tmp_path: Path, env: dict[str, str]) -> dict[str, str]:
    """The environment of a host with two GPUs whose limit is 700 W, and which draw 600 W if they may."""
    gpu = SimulatedGpu(low_W=600, high_W=600, limit_W=700, min_limit_W=200, max_limit_W=700)
    return env | gpu_environment(compile_nvml(tmp_path), [gpu, gpu])


def kill(running: Piped) -> None:
    """Kill the meter alone."""
    running.kill()
    running.wait(timeout=60)


def test_the_limit_is_in_force_for_the_job_alone_and_recorded_in_its_ledger(tmp_path, gpus):
    limits(gpus, 650)
    done = meter(
        "--gpus", 1, "--power-limit", 300, "--", "sh", "-c", f"{sys.executable} -c '{LIMITS}'; sleep 1", env=gpus
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "300 700\n", "")
    assert limits(gpus) == [650, 700]
    records = the_ledger(tmp_path)
    before = {"gpu": gpu_uuid(0), "before_W": 650.0, "asked_W": 300.0, "in_effect_W": 300.0}
    assert records[0]["power_limits"] == [before]
    assert records[-1]["power_limits_after_W"] == {gpu_uuid(0): 650.0}
    (job,) = attribute(tmp_path / "ledger").jobs
    (component,) = (c for c in job.components if c.component == "gpu")
    assert known(component.energy).value == pytest.approx(300 * (job.attempt.last_s - job.attempt.first_s), rel=0.02)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["false"], 1),
        (["no-such-command"], 127),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $PPID; sleep 60"], 143),
        (["sh", "-c", "kill -INT $PPID; sleep 60"], 130),
        (["sh", "-c", "kill -HUP $PPID; sleep 60"], 129),
    ],
    ids=["fails", "is not found", "is killed", "TERM", "INT", "HUP"],
)
def test_the_limit_is_restored_when_the_job(gpus, command, status):
    done = meter("--gpus", 2, "--power-limit", 250, "--", *command, env=gpus)
    assert done.returncode == status
    assert limits(gpus) == [700, 700]


def test_after_a_killed_meter_the_limit_stays_until_its_job_ends_and_the_next_meter_restores_it(gpus):
    running = start("--gpus", 1, "--power-limit", 300, "--", "sh", "-c", "echo ready; read line", env=gpus)
    assert running.stdout.readline() == "ready\n"
    kill(running)
    assert meter("--", "true", env=gpus).stderr == ""
    assert limits(gpus) == [300, 700]  # its job still has the lease
    running.stdin.close()
    # the next job that holds the GPU, without a limit
    after = meter("--gpus", 2, "--wait", 30, "--", *SHOW, env=gpus)
    assert after.stdout == "700 700\n"
    assert f"{gpu_uuid(0)}: its power limit is restored to 700 W; a job that was killed had set 300 W" in after.stderr
    assert meter("--", *SHOW, env=gpus).stderr == ""


def kill_a_job_that_set_300_W(gpus: dict[str, str]) -> None:
    """Start a job that limits the first GPU, and kill it with its meter: the limit stays."""
    running = start(
        "--gpus", 1, "--power-limit", 300, "--", "sh", "-c", "echo ready; sleep 60", env=gpus, process_group=0
    )
    assert running.stdout.readline() == "ready\n"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(timeout=60)


def test_a_limit_after_that_of_a_killed_job_restores_the_one_before_both(gpus):
    kill_a_job_that_set_300_W(gpus)
    assert limits(gpus) == [300, 700]
    after = meter("--gpus", 2, "--power-limit", 400, "--wait", 30, "--", *SHOW, env=gpus)
    assert after.stdout == "400 400\n"
    assert limits(gpus) == [700, 700]


def test_jobs_with_other_limits_wait_for_the_lease_of_their_gpu(gpus):
    one_gpu = gpus | {"CUDA_VISIBLE_DEVICES": "0"}
    show = ["sh", "-c", f"{sys.executable} -c '{LIMITS}'; read line"]
    first = start("--gpus", 1, "--power-limit", 300, "--", *show, env=one_gpu)
    assert first.stdout.readline() == "300 700\n"
    second = start("--gpus", 1, "--power-limit", 400, "--", *show, env=one_gpu)
    assert "waiting for 1 of 1 GPU" in second.stderr.readline()
    assert limits(gpus) == [300, 700]
    first.communicate("end\n", timeout=60)
    assert second.stdout.readline() == "400 700\n"
    second.communicate("end\n", timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert limits(gpus) == [700, 700]


def test_a_limit_inside_that_of_another_job_is_refused(gpus):
    inner = [sys.executable, "-m", "greenllm", "meter", "--gpus", "1", "--power-limit", "400", "--", "echo", "ran"]
    done = meter("--gpus", 1, "--power-limit", 300, "--rule", "outer", "--", *inner, env=gpus)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "another job has set it (300 W, by outer of" in done.stderr


@pytest.mark.parametrize(
    ("gpu", "asked_W", "reason"),
    [
        (
            SimulatedGpu(limit_W=700, may_set_limit=False),
            300,
            "NVML: Insufficient Permissions; the driver lets only root",
        ),
        (SimulatedGpu(limit_W=700, min_limit_W=200, max_limit_W=700), 150, "its driver permits 200 to 700 W"),
        (SimulatedGpu(limit_W=700, min_limit_W=200, max_limit_W=700), 700.5, "its driver permits 200 to 700 W"),
    ],
    ids=["right", "too low", "too high"],
)
def test_a_limit_that_cannot_be_set_is_refused_before_the_job_runs(tmp_path, env, gpu, asked_W, reason):
    may = SimulatedGpu(limit_W=700, min_limit_W=100, max_limit_W=800)
    environment = env | gpu_environment(compile_nvml(tmp_path), [may, gpu])
    done = meter("--gpus", 2, "--power-limit", asked_W, "--", "echo", "ran", env=environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"--power-limit {asked_W:g}: the limit of {gpu_uuid(1)} cannot be set: {reason}" in done.stderr
    assert limits(environment) == [700, 700]
    assert not list((tmp_path / "ledger").rglob("*.jsonl"))
    assert meter("--gpus", 2, "--", "true", env=environment).stderr == ""  # nothing is left to restore, nor the lease


def test_without_a_gpu_a_limit_is_no_error_and_without_asking_for_one_it_is(tmp_path, env):
    done = meter("--gpus", 1, "--power-limit", 300, "--", "echo", "ran", env=env | {"CUDA_VISIBLE_DEVICES": ""})
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "--power-limit 300: the job has no GPU, so no limit is set" in done.stderr
    for words, reason in (
        (["300"], "asks for no GPU"),
        (["-5", "--gpus", 1], "above 0"),
        (["nan", "--gpus", 1], "above 0"),
    ):
        refused = meter("--power-limit", *words, "--", "true", env=env)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert reason in refused.stderr


def test_a_mig_instance_has_no_limit(tmp_path, env):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu(mig=2)])
    environment |= {"CUDA_VISIBLE_DEVICES": mig_uuid(0, 0)}
    refused = meter("--gpus", 1, "--power-limit", 300, "--", "echo", "ran", env=environment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "only its whole GPU has a power limit" in refused.stderr


def test_a_limit_that_somebody_else_sets_meanwhile_stays(gpus):
    done = meter("--gpus", 1, "--power-limit", 300, "--", *SHOW, "500", env=gpus)
    assert done.stdout == "500 700\n"
    assert "is left at 500 W, which somebody else set" in done.stderr
    assert limits(gpus) == [500, 700]
    assert meter("--gpus", 1, "--", "true", env=gpus).stderr == ""


def test_a_record_of_an_earlier_boot_changes_nothing(tmp_path, gpus):
    limits(gpus, 300)
    record = {"boot_id": "an earlier one", "before_mW": 700_000, "asked_mW": 300_000, "holder": {}}
    (tmp_path / "locks").mkdir()
    file = tmp_path / "locks" / f"power-limit-{gpu_uuid(0)}"
    file.write_text(json.dumps(record) + "\n" + json.dumps({"set_mW": 300_000}) + "\n")
    assert meter("--gpus", 1, "--", "true", env=gpus).stderr == ""
    assert limits(gpus) == [300, 700]
    assert file.read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_a_record_that_another_user_wrote_is_not_believed(tmp_path, gpus):
    kill_a_job_that_set_300_W(gpus)
    os.chown(tmp_path / "locks" / f"power-limit-{gpu_uuid(0)}", 12345, -1)
    assert meter("--", "true", env=gpus).returncode == 0
    assert limits(gpus) == [300, 700]
    refused = meter("--gpus", 1, "--power-limit", 400, "--", "true", env=gpus)
    assert refused.returncode == 2
    assert "belongs to another user; remove it" in refused.stderr


def test_a_next_meter_without_the_right_names_the_command_that_restores(gpus):
    kill_a_job_that_set_300_W(gpus)
    without = gpus | {"SIMULATED_GPUS": ";".join(f"{gpu},may_set_limit=0" for gpu in gpus["SIMULATED_GPUS"].split(";"))}
    done = meter("--", "echo", "ran", env=without)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"sudo nvidia-smi -i {gpu_uuid(0)} -pl 700" in done.stderr
    assert meter("--", "true", env=gpus).returncode == 0  # one that has it
    assert limits(gpus) == [700, 700]


def test_a_block_of_python_has_a_limit(tmp_path, gpus):
    script = f"""
from greenllm.meter import Meter
import subprocess, sys
try:
    with Meter(gpus=1, power_limit_W=300):
        subprocess.run({SHOW!r}, check=True)
        raise ValueError
except ValueError:
    subprocess.run({SHOW!r}, check=True)
"""
    done = subprocess.run([sys.executable, "-c", script], env=gpus, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("300 700\n700 700\n", "")


def test_restored_in_runs_that_end_at_random_by_term_or_kill(tmp_path, gpus):
    """A hundred runs: benchmarks/power_limits.py."""
    chance = random.Random(13)
    for number in range(10):
        by = chance.choice([signal.SIGTERM, signal.SIGKILL])
        environment = gpus | {"GREENLLM_LEDGER": str(tmp_path / f"ledger-{number}")}
        running = start("--gpus", 2, "--power-limit", 300, "--", "sleep", "60", env=environment, process_group=0)
        time.sleep(chance.uniform(0, 0.6))  # at any point of its start, or later
        os.killpg(running.pid, by)
        running.communicate(timeout=60)
        if by == signal.SIGKILL:
            assert meter("--", "true", env=gpus).returncode == 0
        assert limits(gpus) == [700, 700], (number, by)
