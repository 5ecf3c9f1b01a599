"""A training that pauses as planned, under a real meter, and goes on to the same weights."""

import json
import subprocess
import time
from datetime import UTC, datetime

import pytest
from metering import GREENLLM
from prepared_data import train_command

from greenllm.attribution import attribute


def at(unix_s):
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


def train(env, data, folder, runs=None):
    """Train under the meter, by a plan with these runs if there are any; return how it went."""
    folder.mkdir()
    options = [
        "--ledger",
        folder / "ledger",
        "--out",
        folder / "energy.json",
        "--rule",
        "train",
        "--wildcard",
        "recipe=a",
    ]
    if runs is not None:
        job = {"rule": "train", "wildcards": {"recipe": "a"}, "runs": [{"start": at(a), "end": at(b)} for a, b in runs]}
        (folder / "plan.json").write_text(json.dumps({"jobs": [job]}))
        options += ["--plan", folder / "plan.json"]
    command = [*GREENLLM, "meter", *options, "--", *GREENLLM, *train_command(data, folder)]
    return subprocess.run(list(map(str, command)), env=env, stderr=subprocess.PIPE, text=True)


def test_a_training_pauses_at_a_checkpoint_and_goes_on_to_the_same_weights(data, env, tmp_path):
    whole = train(env, data, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    (once,) = attribute(tmp_path / "whole/ledger").jobs
    needed_s = once.attempt.last_s - once.attempt.first_s
    now_s = time.time()
    again_s = now_s + 3 * needed_s + 4  # long after the pause
    # It pauses at its first checkpoint: no other is nearer to a time at which it has hardly been started.
    paused = train(env, data, tmp_path / "paused", [(now_s, now_s + 1), (again_s, again_s + 1)])
    assert paused.returncode == 0, paused.stderr
    assert "paused after step 26, as planned" in paused.stderr
    first, second = attribute(tmp_path / "paused/ledger").jobs
    assert [first.status, second.status] == ["paused", "succeeded"]
    assert first.waste is second.waste is None
    assert second.attempt.start.wall_s == pytest.approx(again_s, abs=2)
    report = json.loads((tmp_path / "paused/model/training.json").read_text())
    assert report["resumed_from_step"] == 26
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "paused")]
    assert weights[0] == weights[1]
    assert json.loads((tmp_path / "paused/energy.json").read_text())["status"] == "succeeded"
