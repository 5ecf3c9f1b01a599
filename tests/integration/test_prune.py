"""`greenllm compress` with prune and sparsify: what is removed, what stays, and what the model can be used for."""

import json
import shutil

import pytest
import torch
from narrowing import known
from prepared_data import TRAINING, rows, train_command
from tiny_models import compress
from training_process import start, wait_for_checkpoint
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from greenllm.cli import main
from greenllm.compression.importance import calibration_rows
from greenllm.engines import load_engine
from greenllm.model_folder.manifest import read_manifest
from greenllm.training.device import has_bf16


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main(train_command(data, folder, evaluations=1)) == 0
    return folder / "model"


def options(data, folder, **settings):
    training = json.dumps(TRAINING | {"evaluations": 1, "learning_rate": 1e-3} | settings)
    return ["--data", str(data), "--settings", training, "--checkpoints", str(folder / "checkpoints")]


def prune(parent, data, folder, recipe, more=(), **settings):
    return compress(parent, folder / "model", f"prune: {{{recipe}}}", *options(data, folder, **settings), *more)


@pytest.fixture(scope="module")
def pruned(trained, data, tmp_path_factory):
    return prune(trained, data, tmp_path_factory.mktemp("pruned"), "structured: 0.5")


def right(folder):
    """Return the share of 50 test prompts that a model answers correctly."""
    test = rows("test", 50)
    answers = load_engine(folder, threads=1, device="cpu").generate([row["prompt"] for row in test], 4)
    return sum(answer.text == row["completion"] for answer, row in zip(answers, test, strict=True)) / len(test)


def report_of(folder):
    return json.loads((folder / "compression.json").read_text())


def test_importance_is_measured_on_rows_from_all_of_the_data(data):
    whole = calibration_rows(data, 32, 400)
    chosen = calibration_rows(data, 32, 256)
    assert (len(whole), len(chosen)) == (400, 256)
    assert [chosen[part] for part in (0, 64, 128, 192)] == [whole[part] for part in (0, 100, 200, 300)]


def test_half_of_each_layer_is_gone_and_the_model_still_answers(trained, pruned):
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (trained, pruned))
    assert (before["num_attention_heads"], before["intermediate_size"]) == (2, 384)
    assert (after["num_attention_heads"], after["num_key_value_heads"], after["head_dim"]) == (1, 1, 64)
    assert (after["intermediate_size"], after["num_hidden_layers"]) == (192, 4)
    report = report_of(pruned)
    layers_before, layers_after = (
        sum(weight.numel() for weight in model.model.layers.parameters())
        for model in map(AutoModelForCausalLM.from_pretrained, (trained, pruned))
    )
    assert layers_after / layers_before == pytest.approx(0.5, abs=0.01)
    assert report["parameters"]["before"] - report["parameters"]["after"] == layers_before - layers_after
    assert report["bytes"]["after"] == (pruned / "model.safetensors").stat().st_size < 0.6 * report["bytes"]["before"]
    assert [len(layer["heads"]) for layer in report["removed"]] == [1] * 4
    assert [layer["feed_forward_neurons"] for layer in report["removed"]] == [192] * 4
    assert set(report["importance"]) == {"heads", "feed_forward"}
    after, before = (known(read_manifest(folder).forward_flops).per_token for folder in (pruned, trained))
    assert 0.45 < after / before < 0.6
    assert right(trained) >= 0.95
    assert right(pruned) >= 0.9


def test_a_pruned_model_can_be_quantised(pruned, tmp_path):
    folder = compress(pruned, tmp_path / "int8", "quantize: int8")
    assert report_of(folder)["parameters"]["after"] == report_of(pruned)["parameters"]["after"]
    assert right(folder) >= 0.88
    assert right(compress(pruned, tmp_path / "int4", "quantize: {format: int4, block: 16}")) >= 0.8


def test_whole_layers(trained, data, tmp_path):
    folder = prune(trained, data, tmp_path, "layers: 0.5")
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_hidden_layers"], config["num_attention_heads"], config["intermediate_size"]) == (2, 2, 384)
    report = report_of(folder)
    assert sum(layer["whole"] for layer in report["removed"]) == 2
    assert set(report["importance"]) == {"layers"}
    assert right(folder) >= 0.9


def test_several_processes_recover_one_model(trained, data, tmp_path):
    """The training settings alone set the processes: `recover` may be left out."""
    prune(trained, data, tmp_path, "structured: 0.5", processes=2, epochs=0.2, more=["--threads", "2"])
    report = json.loads((tmp_path / "model" / "training.json").read_text())
    assert (report["world_size"], report["wrapper"]) == (2, "DistributedDataParallel")


def test_an_interrupted_training_resumes_with_the_same_parts_removed(trained, data, tmp_path, capfd):
    prune(trained, data, tmp_path / "whole", "structured: 0.5", epochs=1, evaluations=2)
    half = tmp_path / "half"
    command = ["compress", "--recipe", "prune: {structured: 0.5}", "--from", str(trained), "--device", "cpu"]
    command += ["--out", str(half / "model"), *options(data, half, epochs=1, evaluations=2)]
    process = start(command, work=tmp_path / "work.json")
    wait_for_checkpoint(process)
    process.kill()
    process.wait()
    assert not (half / "model").exists()
    assert main(command) == 0
    assert "train: resuming from" in capfd.readouterr().err
    for name in ("model.safetensors", "compression.json"):
        assert (half / "model" / name).read_bytes() == (tmp_path / "whole" / "model" / name).read_bytes()


def refused(capfd, parent, recipe, *more):
    out = parent.parent / "refused"
    assert main(["compress", "--recipe", recipe, "--from", str(parent), "--out", str(out), *more]) == 2
    assert not out.exists()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    return line


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("prune: {structured: 0}", "prune.structured: would remove nothing; expected a share above 0 and below 1"),
        ("prune: {layers: 1}", "prune.layers: would remove everything; expected a share above 0 and below 1"),
        ("prune: {heads: 0.3}", "prune.heads: 0.3 of 2 key-value groups of 1 heads is no whole number"),
        ("prune: {calibration_rows: 8}", "removes nothing; expected structured, heads, feed_forward or layers"),
        ("sparsify: {share: 0}", "sparsify.share: would remove nothing"),
        ("sparsify: {share: 1}", "sparsify.share: would remove everything"),
        ("precision: fp16", "precision"),
    ],
)
def test_what_cannot_be_removed_is_reported_in_one_line(recipe, said, trained, data, tmp_path, capfd):
    assert said in refused(capfd, trained, recipe, *options(data, tmp_path))


def test_an_architecture_that_cannot_be_pruned(data, tmp_path, capfd):
    config = GPT2Config(vocab_size=20, n_embd=32, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    said = refused(capfd, tmp_path / "gpt2", "prune: {structured: 0.5}", *options(data, tmp_path))
    assert "GPT2LMHeadModel has no layers, so it cannot be pruned" in said


def test_zeros_change_neither_parameters_nor_bytes(trained, tmp_path):
    folder = compress(trained, tmp_path / "sparse", "sparsify: {share: 0.5}")
    report = report_of(folder)
    assert report["parameters"]["after"] == report["parameters"]["before"]
    assert report["bytes"]["after"] == pytest.approx(report["bytes"]["before"], rel=0.001)
    before, after = (AutoModelForCausalLM.from_pretrained(made) for made in (trained, folder))
    assert torch.equal(*(network.get_parameter("model.embed_tokens.weight") for network in (before, after)))
    for (name, dense), sparse in zip(before.named_parameters(), after.parameters(), strict=True):
        if name.endswith("_proj.weight"):
            gone = sparse == 0
            assert gone.float().mean() == pytest.approx(0.5, abs=0.001)
            assert dense[gone].abs().max() <= dense[~gone].abs().min()
    nonzero = report["nonzero_parameters"]
    linear = sum(weight.numel() for name, weight in before.named_parameters() if name.endswith("_proj.weight"))
    assert nonzero["before"] - nonzero["after"] == pytest.approx(linear / 2, rel=0.001)


@pytest.mark.parametrize("computed", ["bf16", "fp32"])
def test_zeros_change_neither_how_weights_are_stored_nor_what_they_are_computed_in(trained, tmp_path, computed):
    parent = shutil.copytree(trained, tmp_path / "parent")
    AutoModelForCausalLM.from_pretrained(trained, dtype=torch.bfloat16).save_pretrained(parent)
    read_manifest(trained).model_copy(update={"precision": computed}).write(parent)
    folder = compress(parent, tmp_path / "sparse", "sparsify: {share: 0.5}")
    report = report_of(folder)
    assert report["bytes"]["after"] == pytest.approx(report["bytes"]["before"], rel=0.001)
    assert read_manifest(folder).precision == computed
    fp32 = compress(trained, tmp_path / "fp32", "sparsify: {share: 0.5}")
    zeros = [report_of(one)["nonzero_parameters"]["after"] for one in (fp32, folder)]
    assert zeros[0] == pytest.approx(zeros[1], rel=0.01)


def test_bf16_halves_the_bytes_and_is_computed_in(trained, tmp_path, capfd, monkeypatch):
    if not has_bf16(on_gpu=False):
        pytest.skip("this processor does not compute in bf16")
    folder = compress(trained, tmp_path / "bf16", "precision: bf16")
    report = report_of(folder)
    assert report["bytes"]["after"] == pytest.approx(report["bytes"]["before"] / 2, rel=0.01)
    engine = load_engine(folder, threads=1, device="cpu")
    assert engine.precision == "bf16"
    assert right(folder) >= 0.9
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # a processor without bf16
    assert "this processor does not compute in it" in refused(capfd, trained, "precision: bf16")
