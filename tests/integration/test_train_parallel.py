"""`greenllm train` in several processes: the same training, and no process is left however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prepared_data import train_command, write_prepared
from training_process import wait_for_checkpoint

from greenllm.cli import main

# 401 rows: the last batch of an epoch has one row, which two processes can't share.
SETTINGS = {"precision": "fp32", "epochs": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", train=401)


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert main(train_command(data, folder, **SETTINGS)) == 0
    return folder


@pytest.fixture(scope="module")
def together(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    process = start(data, folder)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return folder


def start(data, folder, processes=2, around=()):
    command = train_command(data, folder, "--threads", "2", processes=processes, **SETTINGS)
    environment = os.environ | {"GREENLLM_WORK": str(folder / "work.json")}
    # A new session, by which its processes are found.
    return subprocess.Popen(
        [*around, sys.executable, "-m", "greenllm", *command],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_of(session):
    """Return {process id: command line} of the processes that still run in a session."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) == session and stat[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
        except OSError:
            continue
    return found


def ranks_of(process):
    return [pid for pid, command in processes_of(process.pid).items() if "spawn_main" in command]


def nothing_is_left(process):
    for _ in range(100):
        if not processes_of(process.pid):
            return True
        time.sleep(0.1)
    return False


def report(folder):
    return json.loads((folder / "model" / "training.json").read_text())


def test_two_processes_train_the_same_model_as_one(alone, together):
    one, two = report(alone), report(together)
    assert (two["world_size"], two["wrapper"], two["backend"]) == (2, "DistributedDataParallel", "gloo")
    assert (one["world_size"], one["wrapper"], one["backend"]) == (1, None, None)
    same = ("steps", "samples", "tokens", "flops", "threads", "best_step")
    assert {key: two[key] for key in same} == {key: one[key] for key in same} | {"threads": 2}
    for curve in ("loss", "validation_loss"):
        assert [entry["step"] for entry in two[curve]] == [entry["step"] for entry in one[curve]]
        losses = [entry["loss"] for entry in one[curve]]
        assert [entry["loss"] for entry in two[curve]] == pytest.approx(losses, rel=1e-2)
    assert json.loads((together / "work.json").read_text())["samples"] == two["samples"] == 802


def test_a_process_that_dies_ends_all_and_the_next_run_resumes_to_the_same_weights(data, together, tmp_path):
    process = start(data, tmp_path)
    wait_for_checkpoint(process)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    said = process.stderr.read()
    assert process.wait() == 1
    (line,) = [line for line in said.splitlines() if "error:" in line]
    assert re.fullmatch(r"greenllm: error: process \d of 2 was ended by SIGKILL; the others were stopped", line.strip())
    assert "Traceback" not in said
    assert nothing_is_left(process)
    assert not (tmp_path / "model").exists()

    process = start(data, tmp_path)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.count("resuming from") == 1
    assert report(tmp_path)["resumed_from_step"]
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert weights == (together / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_all_processes(data, tmp_path, sent, status):
    process = start(data, tmp_path)
    wait_for_checkpoint(process)
    process.send_signal(sent)
    said = process.stderr.read()
    assert process.wait() == status
    assert nothing_is_left(process)
    assert said.count("interrupted; run again to resume") == (sent == signal.SIGINT)
    assert "Traceback" not in said


def test_a_killed_launcher_leaves_nothing_behind(data, tmp_path):
    in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # as a shell starts what it does not wait for
    process = start(data, tmp_path, around=in_background)
    wait_for_checkpoint(process)
    process.kill()
    process.communicate(timeout=60)
    assert nothing_is_left(process)


def refused(capfd, command):
    assert main(command) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    return line


def test_a_mistake_is_reported_once(data, tmp_path, capfd):
    uneven = train_command(data, tmp_path, "--threads", "2", processes=3)
    assert "train.processes: 3 processes can't share 2 thread(s) evenly" in refused(capfd, uneven)
    odd = train_command(data, tmp_path, "--threads", "2", processes=2, batch=15)
    assert "train.batch: 15 rows can't be divided among 2 processes; set a multiple of 2" in refused(capfd, odd)
    over_nodes = train_command(data, tmp_path, nodes=2, batch=15)
    assert "train.batch: 15 rows can't be divided among 2 processes; set a multiple of 2" in refused(capfd, over_nodes)
    nowhere = train_command(tmp_path / "nowhere", tmp_path, "--threads", "2", processes=2)
    assert "greenllm train: error: " in (line := refused(capfd, nowhere))
    assert "nowhere/tokenizer/tokenizer.json: no such file" in line
    assert not (tmp_path / "model").exists()


def test_several_nodes_need_a_cluster(data, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    alone = refused(capfd, train_command(data, tmp_path, nodes=2))
    assert "train.nodes: 2, but this process is in no job of a cluster that has nodes; run it by a cluster's " in alone
    wrong = refused(capfd, train_command(data, tmp_path, "--join", "2@127.0.0.1:1", nodes=2))
    assert "--join 2@127.0.0.1:1: expected NODE@HOST:PORT, where NODE is at least 1 and less than" in wrong
    assert not (tmp_path / "model").exists()


def test_fewer_processes_than_configured_are_an_error(data, tmp_path):
    from greenllm.config.models import Training
    from greenllm.training.train import train

    with pytest.raises(RuntimeError, match=r"one of 1 process\(es\), but 2 are to train together"):
        train(Training(processes=2), data=data, checkpoint_folder=tmp_path, seed=1, threads=2, device="cpu")
