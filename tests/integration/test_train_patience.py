"""`greenllm train` with patience: however often it is interrupted, it stops where it would have stopped."""

import json
import shutil

import pytest
from prepared_data import train_command
from training_process import start

from greenllm.cli import main
from greenllm.meter.planned_start import PAUSE_VARIABLE, PAUSED

WILD = {"learning_rate": 0.1, "schedule": "constant", "evaluations": 12, "patience": 2, "epochs": 4}


def report(folder):
    """Return what training.json says of where it stopped."""
    reported = json.loads((folder / "model/training.json").read_text())
    return {key: reported[key] for key in ("steps", "stop_reason", "best_step", "validation_loss")}


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert main(train_command(data, folder, **WILD)) == 0
    assert report(folder)["stop_reason"] == "patience"
    return folder


def same(one, other):
    weights = [(folder / "model/model.safetensors").read_bytes() for folder in (one, other)]
    return weights[0] == weights[1] and report(one) == report(other)


def test_a_training_that_pauses_at_each_checkpoint_stops_at_the_same_step(whole, data, tmp_path, monkeypatch):
    monkeypatch.setenv(PAUSE_VARIABLE, "1")
    pauses = 0
    while (status := main(train_command(data, tmp_path, **WILD))) == PAUSED:
        pauses += 1
    assert status == 0
    assert pauses > 2
    assert same(whole, tmp_path)


def killed_after_its_last_step(data, folder, settings, steps):
    """Train until the last checkpoint is written, and kill the process; again if it was too late on a busy machine."""
    last = f"checkpoint of step {steps} written"
    for _ in range(5):
        process = start(train_command(data, folder, **settings))
        said = ""
        while last not in said:
            more = process.stderr.readline()
            assert more, said
            said += more
        process.kill()
        process.wait()
        if not (folder / "model").exists():
            return
        shutil.rmtree(folder)
    pytest.fail("the training ended before it could be killed, five times")


def test_a_training_that_was_killed_after_the_step_at_which_it_stopped_does_not_go_on(whole, data, tmp_path):
    steps, folder = report(whole)["steps"], tmp_path / "killed"
    killed_after_its_last_step(data, folder, WILD, steps)
    assert main(train_command(data, folder, **WILD)) == 0
    assert json.loads((folder / "model/training.json").read_text())["resumed_from_step"] == steps
    assert same(whole, folder)


def test_a_training_that_was_killed_after_the_last_step_of_half_an_epoch_does_not_go_on(data, tmp_path):
    half = {"epochs": 0.5, "evaluations": 2}
    once, killed = tmp_path / "once", tmp_path / "killed"
    assert main(train_command(data, once, **half)) == 0
    killed_after_its_last_step(data, killed, half, report(once)["steps"])
    assert main(train_command(data, killed, **half)) == 0
    assert same(once, killed)
