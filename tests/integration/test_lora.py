"""Recipe step lora: an adapter is trained, resumed after a kill, merged, and served like any other model."""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from prepared_data import WORDS, rows, train_command
from training_process import start, wait_for_checkpoint
from transformers import AutoModelForCausalLM

from greenllm.cli import main
from greenllm.engines import load_engine
from greenllm.serving.bundle import make_bundle

RANK = 4


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    assert main(train_command(data, folder, epochs=1, evaluations=1)) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def adapted(data, pretrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted")
    assert main(lora(data, pretrained, folder)) == 0
    return folder / "model"


def lora(data, pretrained, folder, **settings):
    recipe = {"from": "pretrained", "lora": {"rank": RANK, **settings}}
    options = ("--recipe", json.dumps(recipe), "--from", str(pretrained))
    return train_command(data, folder, *options, model=None, epochs=2)


def logits_of(network):
    ids = torch.randint(len(WORDS), (8, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return network.eval()(input_ids=ids).logits


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def report(model):
    return json.loads((model / "training.json").read_text())


def bytes_of(model):
    return {
        str(file.relative_to(model)): file.read_bytes()
        for file in sorted(model.rglob("*"))
        if file.is_file() and file.name != "training.json"
    }


def test_the_merged_model_computes_the_same_as_the_adapter(pretrained, adapted):
    merged, base = logits_of(load(adapted)), logits_of(load(pretrained))
    with_adapter = logits_of(PeftModel.from_pretrained(load(pretrained), adapted / "adapter"))
    assert (merged - with_adapter).abs().max() <= 1e-4
    assert (merged - base).abs().max() > 0.1
    assert 0 <= report(adapted)["adapter"]["largest_difference"] <= 1e-4


def test_only_the_adapter_is_trained(data, pretrained, adapted, tmp_path):
    """A layer from n to m features gets rank·(n + m) weights; the gradients of the frozen ones are not computed."""
    assert main(train_command(data, tmp_path, "--from", str(pretrained), model=None, epochs=2)) == 0
    full, low_rank = report(tmp_path / "model"), report(adapted)
    linear = [weight.shape for name, weight in load(pretrained).named_parameters() if name.endswith("proj.weight")]
    assert low_rank["trainable_parameters"] == RANK * sum(n + m for n, m in linear)
    assert full["trainable_parameters"] == full["parameters"] == low_rank["parameters"]
    assert 0.6 < low_rank["flops"] / full["flops"] < 0.8
    assert low_rank["validation_loss"][-1]["loss"] < report(pretrained)["validation_loss"][-1]["loss"]


def test_the_result_is_an_ordinary_model(pretrained, adapted, tmp_path):
    assert (adapted / "greenllm.json").read_bytes() == (pretrained / "greenllm.json").read_bytes()
    int8 = tmp_path / "int8"
    assert main(["compress", "--recipe", "{quantize: int8}", "--from", str(adapted), "--out", str(int8)]) == 0
    prompts = [row["prompt"] for row in rows("test", 20)]
    fp32, quantised = (
        [answer.text for answer in load_engine(folder, threads=1, device="cpu").generate(prompts, 4)]
        for folder in (adapted, int8)
    )
    assert sum(map(str.__eq__, fp32, quantised)) >= 18
    make_bundle(adapted, None, {}, tmp_path / "bundle")
    files = {path.name for path in adapted.iterdir()} - {"adapter"}
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == files | {"README.md", "serve"}


def test_a_killed_training_resumes_only_with_the_same_adapter(data, pretrained, adapted, tmp_path):
    killed = start(lora(data, pretrained, tmp_path))
    wait_for_checkpoint(killed)
    killed.kill()
    killed.wait()
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "checkpoints", other / "checkpoints")

    assert main(lora(data, pretrained, tmp_path)) == 0
    assert report(tmp_path / "model")["resumed_from_step"]
    assert bytes_of(tmp_path / "model") == bytes_of(adapted)
    assert main(lora(data, pretrained, other, alpha=32)) == 0
    assert report(other / "model")["resumed_from_step"] is None


def test_modules_that_do_not_exist_are_named_with_those_that_do(data, pretrained, tmp_path, capfd):
    assert main(lora(data, pretrained, tmp_path, modules=["q_proj", "query"])) == 2
    said = capfd.readouterr().err
    assert "lora.modules: the model has no linear layer 'query'; it has q_proj, k_proj, v_proj, o_proj, gate" in said
    assert not (tmp_path / "model").exists()
