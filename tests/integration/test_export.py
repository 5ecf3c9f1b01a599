"""`export`: a model's unchanged weights on another engine, which answers as the parent's engine does."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import PROMPTS, TEXTS, compress

from greenllm.cli import main
from greenllm.engines import ScoresTexts, load_engine
from greenllm.model_folder.manifest import Manifest, read_manifest


@pytest.fixture(scope="module")
def exported(fp32, tmp_path_factory):
    return compress(fp32, tmp_path_factory.mktemp("exported") / "model", "{from: baseline, export: onnxruntime}")


def test_the_exported_model_answers_as_its_parent_does(fp32, exported):
    engines = [load_engine(folder, threads=1, device="cpu") for folder in (fp32, exported)]
    parents, moved = ([answer.text for answer in engine.generate(PROMPTS, 12)] for engine in engines)
    assert moved == parents
    assert len(set(parents)) > 1


def test_its_scores_are_the_parents_up_to_rounding(fp32, exported):
    parents, moved = (
        [likelihood.nats for likelihood in engine.score(TEXTS)]
        for engine in (load_engine(folder, threads=1, device="cpu") for folder in (fp32, exported))
        if isinstance(engine, ScoresTexts)
    )
    assert moved == pytest.approx(parents, rel=1e-4)


def test_engine_precision_and_sizes_are_written(fp32, exported):
    before, after = read_manifest(fp32), read_manifest(exported)
    assert (after.engine, after.precision, after.context) == ("onnxruntime-genai", "fp32", before.context)
    assert (exported / "tokenizer.json").read_bytes() == (fp32 / "tokenizer.json").read_bytes()
    report = json.loads((exported / "compression.json").read_text())
    assert (report["recipe"], report["engine"], report["precision"]) == ("exported", "onnxruntime", "fp32")
    assert report["parameters"]["before"] == report["parameters"]["after"] == after.parameters
    # The same numbers of 32 bits; the graph adds some.
    assert report["bytes"]["after"] == pytest.approx(report["bytes"]["before"], rel=0.1)


def test_weights_in_bf16_keep_their_values(fp32, exported, tmp_path):
    rounded = {name: weight.to(torch.bfloat16) for name, weight in load_file(fp32 / "model.safetensors").items()}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        shutil.copytree(fp32, tmp_path / name)
        weights = {key: weight.to(dtype) for key, weight in rounded.items()}
        save_file(weights, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        settings = json.loads((fp32 / "config.json").read_text()) | {"dtype": str(dtype).removeprefix("torch.")}
        (tmp_path / name / "config.json").write_text(json.dumps(settings))
    Manifest(precision="bf16", context=read_manifest(fp32).context).write(tmp_path / "bf16")
    models = [compress(tmp_path / name, tmp_path / f"{name}-moved", "export: onnxruntime") for name in ("bf16", "fp32")]
    ours, theirs = ((model / "model.onnx.data").read_bytes() for model in models)
    assert ours == theirs
    assert ours != (exported / "model.onnx.data").read_bytes()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("export: {engine: onnxruntime, precision: bf16}", "--recipe: export.precision: 'bf16' is not one of"),
        ("export: tensorrt", "--recipe: export.engine: 'tensorrt' is not one of the choices; known: onnxruntime"),
        ("export: {}", "--recipe: export.engine: is missing"),
    ],
)
def test_what_the_engine_does_not_have_is_refused_in_one_line(recipe, said, fp32, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compress", "--recipe", recipe, "--from", str(fp32), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not out.exists()


@pytest.mark.parametrize("recipe", ["export: onnxruntime", "quantize: int8", "sparsify: {share: 0.5}"])
def test_no_step_starts_from_an_exported_model(recipe, exported, tmp_path, capsys):
    assert main(["compress", "--recipe", recipe, "--from", str(exported), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"{exported}: is exported already (fp32, onnxruntime-genai); start from its parent's model" in said
