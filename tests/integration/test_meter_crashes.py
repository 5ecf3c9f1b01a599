"""What remains and counts when a job, its meter or its disk fails."""

import json
import os
import signal
import subprocess

import pytest
from hardware.simulated import proc_tree
from metering import meter, start, the_ledger, wait_for_lines
from narrowing import known

from greenllm.attribution import attribute


def test_a_killed_meter_leaves_a_ledger_that_counts_and_a_lease_that_holds(tmp_path, env):
    environment = env | {"GREENLLM_METER_INTERVAL_S": "0.05"}
    command = ["sh", "-c", "echo ready; read line"]  # until its stdin, ours, ends
    running = start("--threads", 1, "--rule", "train", "--exclusive", "--", *command, env=environment)
    assert running.stdout.readline() == "ready\n"
    wait_for_lines(tmp_path, 10)
    running.kill()
    running.wait(timeout=60)
    refused = meter("--exclusive", "--wait", "0.2", "--", "true", env=environment)
    assert refused.returncode == 2
    assert "not free after" in refused.stderr
    result = attribute(tmp_path / "ledger")
    (job,) = result.jobs
    assert (job.status, job.waste) == ("lost", "lost")
    assert known(job.energy).value > 0
    assert job.attempt.last_s - job.attempt.first_s > 0.3
    running.stdin.close()
    after = meter("--exclusive", "--wait", 30, "--", "echo", "free", env=environment)  # the job's end freed it
    assert after.stdout == "free\n"


def test_when_meter_and_job_are_killed_what_the_ledger_holds_counts_and_the_lease_is_free(tmp_path, env):
    environment = env | {"GREENLLM_METER_INTERVAL_S": "0.05"}
    running = start("--exclusive", "--", "sh", "-c", "echo ready; sleep 60", env=environment, process_group=0)
    assert running.stdout.readline() == "ready\n"
    path = wait_for_lines(tmp_path, 10)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(timeout=60)
    with path.open("ab") as file:
        file.write(b"[123.4,5")  # what a power loss leaves of a line
    (job,) = attribute(tmp_path / "ledger").jobs
    assert (job.status, job.attempt.corrupt_lines) == ("lost", 1)
    assert len(job.attempt.times) >= 8
    assert known(job.energy).value > 0
    assert meter("--exclusive", "--wait", 5, "--", "echo", "free", env=environment).stdout == "free\n"


def test_what_fails_at_the_end_costs_neither_end_record_nor_exit_status(tmp_path, env):
    proc = proc_tree(tmp_path / "proc")
    environment = env | {"GREENLLM_PROCFS": str(proc), "GREENLLM_METER_INTERVAL_S": "3600"}
    done = meter("--out", tmp_path / "log.json", "--", "sh", "-c", f": > {proc}/stat; exit 5", env=environment)
    assert done.returncode == 5
    assert "the last sample could not be taken" in done.stderr
    assert the_ledger(tmp_path)[-1]["exit_code"] == json.loads((tmp_path / "log.json").read_text())["exit_code"] == 5


def test_a_job_runs_though_nothing_can_be_written(tmp_path, env):
    (tmp_path / "file").write_text("")
    done = meter(
        "--ledger",
        tmp_path / "file/ledger",
        "--out",
        tmp_path / "file/log.json",
        "--",
        "sh",
        "-c",
        "echo ran; exit 4",
        env=env,
    )
    assert (done.returncode, done.stdout) == (4, "ran\n")
    assert "ledger cannot be written" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_stops_no_job_and_coverage_says_what_is_missing(tmp_path, env):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        environment = env | {"GREENLLM_METER_INTERVAL_S": "0.02"}
        fill = f"dd if=/dev/zero of={disk}/fill bs=1k count=64 2>/dev/null; sleep 1; rm {disk}/fill; sleep 0.5; exit 5"
        done = meter(
            "--ledger", disk / "ledger", "--out", tmp_path / "log.json", "--", "sh", "-c", fill, env=environment
        )
        assert done.returncode == 5
        assert "could not be written" in done.stderr
        log = json.loads((tmp_path / "log.json").read_text())
        assert log["partial"]
        assert "No space left" in log["reason"]
        (job,) = attribute(disk / "ledger").jobs
        assert job.status == "failed"
        assert known(job.energy).value > 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_read_only_ledger_stops_no_job_and_leaves_older_files_as_they_are(tmp_path, env):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        assert meter("--ledger", disk / "ledger", "--", "true", env=env).returncode == 0
        (older,) = (disk / "ledger").glob("*/*.jsonl")
        content = older.read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = meter(
            "--ledger", disk / "ledger", "--out", disk / "log.json", "--", "sh", "-c", "echo ran; exit 3", env=env
        )
        assert (done.returncode, done.stdout) == (3, "ran\n")
        assert "Read-only file system" in done.stderr
        assert (older.read_bytes(), list((disk / "ledger").glob("*/*"))) == (content, [older])
    finally:
        subprocess.run(["umount", str(disk)], check=True)
