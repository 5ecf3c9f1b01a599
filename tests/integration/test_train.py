"""`greenllm train`: real trainings of a small model, killed, resumed and repeated."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from prepared_data import MODEL, train_command, write_prepared
from training_process import start, wait_for_checkpoint

from greenllm.cli import main

# Far more than a test waits for: whatever is sent to this training reaches it before its end.
ENDLESS = {"epochs": 1000, "evaluations": 1000}


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The model of an uninterrupted training, made by a separate process."""
    folder = tmp_path_factory.mktemp("trained")
    done = start(train_command(data, folder), work=folder / "work.json")
    _, messages = done.communicate()
    assert done.returncode == 0, messages
    return folder


def bytes_of(folder):
    """Return the content of the files but the report, in which the memory is measured."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "training.json"}


def report(folder):
    """Return training.json without the memory, which differs from one run to the next."""
    reported = json.loads((folder / "model" / "training.json").read_text())
    assert reported.pop("peak_memory_bytes") > 0
    return reported


def test_a_model_folder_is_written(trained, data):
    model = trained / "model"
    manifest = json.loads((model / "greenllm.json").read_text())
    assert manifest["schema"] == "greenllm/model/1"
    assert (manifest["engine"], manifest["precision"], manifest["context"]) == ("transformers", "fp32", 32)
    assert not list(model.glob("*.bin")) + list(model.glob("*.pt"))
    for file in (data / "tokenizer").iterdir():
        assert (model / file.name).read_bytes() == file.read_bytes()
    assert not (trained / "checkpoints").exists()


def test_the_work_done_is_reported(trained):
    work, reported = json.loads((trained / "work.json").read_text()), report(trained)
    assert work["samples"] == reported["samples"] == 1200
    assert work["tokens"] == reported["tokens"]
    assert work["flops"] == reported["flops"]
    # 6 operations a parameter and token is a lower bound: padding and attention add 2 % to 100 % here.
    assert 1 < reported["flops"] / (6 * reported["parameters"] * (reported["tokens"] - reported["samples"])) < 2


def test_training_learns_and_validates(trained):
    reported = report(trained)
    assert [entry["step"] for entry in reported["validation_loss"]] == [26, 52, 75]
    assert reported["validation_loss"][-1]["loss"] < 0.2 < reported["validation_loss"][0]["loss"] + 0.2
    assert reported["loss"][-1]["loss"] < reported["loss"][0]["loss"] / 2
    assert reported["trainable_parameters"] == reported["parameters"]
    assert (reported["steps"], reported["stopped_early"], reported["resumed_from_step"]) == (75, False, None)


def test_the_same_training_gives_the_same_bytes(trained, data, tmp_path):
    assert main(train_command(data, tmp_path)) == 0
    assert bytes_of(tmp_path / "model") == bytes_of(trained / "model")
    assert report(tmp_path) == report(trained)


def test_no_more_threads_than_processors(data, tmp_path, capfd):
    usable = len(os.sched_getaffinity(0))
    assert main(train_command(data, tmp_path, "--threads", str(usable + 1))) == 0
    assert f"--threads {usable + 1}: uses {usable}, " in capfd.readouterr().err
    assert report(tmp_path)["threads"] == usable


def test_the_recipes_settings_override_the_studys(data, tmp_path):
    recipe = "{train: {epochs: 0.5, schedule: null}}"
    assert main(train_command(data, tmp_path, "--recipe", recipe, evaluations=1)) == 0
    assert report(tmp_path)["epochs"] == pytest.approx(0.5, abs=0.04)


def test_another_seed_gives_other_weights(trained, data, tmp_path):
    assert main(train_command(data, tmp_path, "--seed", "2")) == 0
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert weights != (trained / "model" / "model.safetensors").read_bytes()


def test_a_killed_training_resumes_to_the_same_weights(trained, data, tmp_path):
    process = start(train_command(data, tmp_path), work=tmp_path / "work.json")
    wait_for_checkpoint(process)
    process.kill()
    process.wait()
    assert not (tmp_path / "model").exists()
    whole = tmp_path / "checkpoints" / "checkpoint-26"
    first = json.loads((tmp_path / "work.json").read_text())
    # A newer checkpoint, whose last file the kill left incomplete.
    broken = tmp_path / "checkpoints" / "checkpoint-60"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(whole, broken)
    (broken / "optimizer.pt").write_bytes((whole / "optimizer.pt").read_bytes()[:1000])

    process = start(train_command(data, tmp_path), work=tmp_path / "work.json")
    _, said = process.communicate()
    assert process.returncode == 0, said
    resumed = report(tmp_path)["resumed_from_step"]
    assert f"resuming from {tmp_path / 'checkpoints' / f'checkpoint-{resumed}'}" in said
    assert bytes_of(tmp_path / "model") == bytes_of(trained / "model")
    assert {**report(tmp_path), "resumed_from_step": None} == report(trained)
    # Each attempt reports its own work.
    second = json.loads((tmp_path / "work.json").read_text())
    if resumed == 26:
        assert first["samples"] + second["samples"] == 1200


def test_an_interrupted_training_says_so_and_resumes(trained, data, tmp_path):
    process = start(train_command(data, tmp_path))
    wait_for_checkpoint(process)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 130
    assert "Traceback" not in said
    assert "interrupted; run again to resume" in said
    assert main(train_command(data, tmp_path)) == 0
    assert report(tmp_path)["resumed_from_step"] in (26, 52)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert weights == (trained / "model" / "model.safetensors").read_bytes()


def test_checkpoints_of_other_settings_are_not_resumed(data, tmp_path):
    process = start(train_command(data, tmp_path, **ENDLESS))
    wait_for_checkpoint(process)
    process.kill()
    process.wait()
    assert main(train_command(data, tmp_path, learning_rate=4e-3, epochs=1)) == 0
    assert report(tmp_path)["resumed_from_step"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk small enough to fill")
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(trained, data, tmp_path, capfd):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*train_command(data, tmp_path), "--checkpoints", str(disk / "checkpoints")]
    # A checkpoint takes 10 MB: the first fits, the second does not.
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]).returncode:
        pytest.skip("this root may not mount")
    try:
        assert main(command) == 2
        error = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
        assert len(error) == 1
        assert re.search(
            r"no space left on the disk for the checkpoint of step 52: \d+\.\d MB free, about \d+", error[0]
        )
        assert str(disk / "checkpoints") in error[0]
        assert [path.name for path in (disk / "checkpoints").iterdir() if path.is_dir()] == ["checkpoint-26"]
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        assert main(command) == 0
        assert report(tmp_path)["resumed_from_step"] == 26
    finally:
        subprocess.run(["umount", disk], check=True)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert weights == (trained / "model" / "model.safetensors").read_bytes()


def test_training_starts_from_a_model_folder(trained, data, tmp_path):
    command = train_command(data, tmp_path, "--from", str(trained / "model"), model=None, epochs=1, learning_rate=1e-4)
    assert main(command) == 0
    assert report(tmp_path)["validation_loss"][0]["loss"] < 0.3
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != (
        trained / "model" / "model.safetensors"
    ).read_bytes()


def test_early_stopping_keeps_the_best_weights(data, tmp_path):
    wild = {"learning_rate": 0.05, "schedule": "constant", "evaluations": 15, "patience": 1, "epochs": 5}
    assert main(train_command(data, tmp_path, **wild)) == 0
    reported = report(tmp_path)
    assert reported["stopped_early"]
    assert reported["stop_reason"] == "patience"
    assert reported["steps"] < 125
    assert reported["best_step"] < reported["steps"]
    # Training from the best weights at a learning rate of nearly 0 validates to the best loss.
    again = train_command(
        data, tmp_path / "again", "--from", str(tmp_path / "model"), model=None, learning_rate=1e-12, epochs=1,
        evaluations=1, optimizer="sgd",
    )  # fmt: skip
    assert main(again) == 0
    best = min(entry["loss"] for entry in reported["validation_loss"])
    assert report(tmp_path / "again")["validation_loss"][0]["loss"] == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_other_schedules_and_plain_sgd_train(data, tmp_path, schedule):
    settings = {"schedule": schedule, "optimizer": "sgd", "learning_rate": 0.1, "epochs": 0.5, "precision": "fp32"}
    assert main(train_command(data, tmp_path, evaluations=1, **settings)) == 0
    reported = report(tmp_path)
    assert (reported["steps"], reported["precision"]) == (13, "fp32")
    assert reported["loss"][-1]["loss"] < reported["loss"][0]["loss"]


def test_rows_longer_than_the_context_are_counted(data, tmp_path):
    assert main(train_command(data, tmp_path, model=MODEL | {"context": 16}, epochs=0.1, evaluations=1)) == 0
    assert report(tmp_path)["truncated_rows"] == 0
    short = tmp_path / "short"
    write_prepared(short / "data", train=20, validation=5)
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"prompt": ["red " + "the " * 40 + "\n"] * 20, "completion": ["RED"] * 20})
    pyarrow.parquet.write_table(table, short / "data" / "train.parquet")
    assert main(train_command(short / "data", short, epochs=1, evaluations=1)) == 0
    assert report(short)["truncated_rows"] == 20


def test_padding_does_not_change_the_loss(data, tmp_path):
    """A batch's loss is the weighted mean over its rows' tokens, as if each row were computed alone."""
    import torch
    from torch.nn import functional
    from transformers import AutoModelForCausalLM

    from greenllm.config.models import Training
    from greenllm.training.batches import Collator, LengthBuckets, Row
    from greenllm.training.model_sizes import llama_config
    from greenllm.training.planned_batches import PlannedBatches
    from greenllm.training.trainer import Run, make_trainer

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(llama_config("tiny", vocabulary=50, context=32, pad_id=0, eos_id=1))
    rows = [Row([5, 9, 7, 1], 2), Row([8, 3, 3, 4, 20, 30, 12, 1], 6), Row([6, 1], 1)]
    trainer = make_trainer(
        model,
        Training(batch=3, prompt_weight=0.2, precision="fp32"),
        Run(seed=1, threads=1, on_gpu=False, precision="fp32", folder=tmp_path),
        rows=rows,
        validation=[],
        planned=PlannedBatches(LengthBuckets([len(row) for row in rows], 3, 1), epochs=1, flops=None),
        pad_id=0,
        done=lambda step: None,
    )
    with torch.no_grad():
        loss = trainer.compute_loss(model, Collator(0, 0.2)(rows))
        total = weight_total = 0.0
        for row in rows:
            logits = model(torch.tensor([row.ids])).logits[0]
            for place in range(1, len(row)):
                weight = 1.0 if place >= row.prompt_length else 0.2
                total += weight * functional.cross_entropy(logits[place - 1], torch.tensor(row.ids[place])).item()
                weight_total += weight
    assert loss.item() == pytest.approx(total / weight_total, rel=1e-5)


def copy_of(data, folder):
    return Path(shutil.copytree(data, folder / "copy"))


def refused(capfd, command):
    """Return the one line with which `command` is refused."""
    assert main(command) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("greenllm train: error: ")]
    assert len(lines) == 1
    return lines[0]


def test_what_cannot_be_trained_on_is_named(data, trained, tmp_path, capfd):
    nowhere = train_command(tmp_path / "nowhere", tmp_path)
    assert "nowhere/tokenizer/tokenizer.json: no such file" in refused(capfd, nowhere)
    assert "neither --from nor --model" in refused(capfd, train_command(data, tmp_path, model=None))
    plain = train_command(data, tmp_path, "--from", str(data), model=None)
    assert f"{data}: no config.json" in refused(capfd, plain)
    assert "error: --model: sise: unknown key" in refused(capfd, train_command(data, tmp_path, model={"sise": "tiny"}))
    assert "error: --settings: epoch: unknown key; did you mean 'epochs'?" in refused(
        capfd, train_command(data, tmp_path, epoch=3)
    )
    wild = train_command(data, tmp_path, learning_rate=1e30, optimizer="sgd", schedule="constant")
    assert "training diverged; set a lower train.learning_rate" in refused(capfd, wild)

    empty = copy_of(data, tmp_path)
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(empty / "train.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), empty / "validation.parquet")
    assert "train.patience needs some" in refused(capfd, train_command(empty, tmp_path, patience=1))
    pyarrow.parquet.write_table(table.slice(0, 0), empty / "train.parquet")
    assert "train.parquet: no rows" in refused(capfd, train_command(empty, tmp_path))
    assert not (tmp_path / "model").exists()


def test_a_tokenizer_of_another_model_is_refused(data, trained, tmp_path, capfd):
    other = copy_of(data, tmp_path)
    file = other / "tokenizer" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"] |= {f"word{number}": number for number in range(100, 200)}
    tokenizer["model"]["vocab"] = {word: index for index, word in enumerate(tokenizer["model"]["vocab"])}
    file.write_text(json.dumps(tokenizer))
    command = train_command(other, tmp_path, "--from", str(trained / "model"), model=None)
    assert "the model in" in refused(capfd, command)


def test_a_gpu_that_is_required_but_not_there(data, tmp_path, capfd):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this host has a GPU")
    assert "sees no GPU" in refused(capfd, [*train_command(data, tmp_path), "--device", "require"])
