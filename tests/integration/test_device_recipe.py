"""`device: cpu`: a model's unchanged weights, computed on the CPU wherever its folder or its bundle is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from deploying import make_bundle
from safetensors.torch import load_file, save_file
from tiny_models import PROMPTS, compress

from greenllm.data.tokenizer import TOKENIZER_FILES
from greenllm.engines import load_engine
from greenllm.model_folder.manifest import read_manifest
from greenllm.training.device import has_bf16

RECIPE = "{from: baseline, device: cpu}"


@pytest.fixture(scope="module")
def on_cpu(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = compress(fp32, tmp_path_factory.mktemp("on-cpu") / "model", RECIPE)
    return folder


def weights(folder: Path) -> dict[str, Any]:
    return {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}


def test_the_weights_stay_and_the_model_folder_names_the_device(fp32: Path, on_cpu: Path) -> None:
    before, after = weights(fp32), weights(on_cpu)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    known = read_manifest(on_cpu)
    assert (known.device, known.engine, known.precision) == ("cpu", "transformers", "fp32")
    assert "device" not in json.loads((fp32 / "greenllm.json").read_text())
    report = json.loads((on_cpu / "compression.json").read_text())
    assert report["parameters"]["before"] == report["parameters"]["after"]


def test_it_computes_on_the_cpu_where_others_would_need_a_gpu(fp32: Path, on_cpu: Path) -> None:
    engine = load_engine(on_cpu, threads=1, device="require")
    assert engine.gpus == 0
    assert engine.generate(PROMPTS, 6) == load_engine(fp32, threads=1, device="cpu").generate(PROMPTS, 6)


def test_its_bundle_computes_on_the_cpu_too(on_cpu: Path, tmp_path: Path) -> None:
    done = make_bundle(on_cpu, "baseline-cpu", tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "baseline-cpu").device == "cpu"
    assert "| Device | cpu |" in (tmp_path / "baseline-cpu/README.md").read_text()


def test_bf16_weights_keep_their_values_and_are_computed_with_in_what_the_cpu_has(fp32: Path, tmp_path: Path) -> None:
    parent = tmp_path / "bf16"
    parent.mkdir()
    for name in (*TOKENIZER_FILES, "config.json", "generation_config.json"):
        if (fp32 / name).is_file():
            shutil.copy(fp32 / name, parent / name)
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(fp32 / "model.safetensors").items()}
    save_file(rounded, parent / "model.safetensors", metadata={"format": "pt"})
    read_manifest(fp32).model_copy(update={"precision": "bf16"}).write(parent)
    moved = compress(parent, tmp_path / "moved", RECIPE)
    before, after = weights(parent), weights(moved)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_manifest(moved).precision == ("bf16" if has_bf16(on_gpu=False) else "fp32")
    assert len(load_engine(moved, threads=1).generate(PROMPTS, 2)) == len(PROMPTS)
