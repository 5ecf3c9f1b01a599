"""`greenllm compress`: a small trained model, quantised by ONNX Runtime GenAI's model builder."""

import json

import pytest
from prepared_data import train_command, write_prepared

from greenllm.cli import main

RECIPE = '{"from": "baseline", "quantize": "int8"}'


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main(train_command(write_prepared(folder / "data"), folder, evaluations=1)) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def quantized(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("quantized") / "model"
    assert main(["compress", "--recipe", RECIPE, "--from", str(trained), "--out", str(out)]) == 0
    return out


def refused(capfd, *options):
    assert main(["compress", *options]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("greenllm compress: error: ")]
    assert len(lines) == 1
    return lines[0]


def test_an_int8_model_folder_is_written(trained, quantized):
    before, after = (json.loads((folder / "greenllm.json").read_text()) for folder in (trained, quantized))
    assert (after["engine"], after["precision"]) == ("onnxruntime-genai", "int8")
    assert {**after, "engine": "transformers", "precision": "fp32"} == before
    assert (quantized / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    report = json.loads((quantized / "compression.json").read_text())
    assert report["bytes"]["before"] == (trained / "model.safetensors").stat().st_size
    # 8 bits and a scale of 32 for each 32 weights, instead of 32 bits a weight, and the graph.
    assert report["bytes"]["after"] < 0.4 * report["bytes"]["before"]
    assert report["parameters"] == before["parameters"]


def test_the_quantised_model_answers_as_its_parent_does(trained, quantized):
    from prepared_data import rows

    from greenllm.serving.engines import load_engine

    prompts = [row["prompt"] for row in rows("test", 30)]
    parent, child = (load_engine(folder, threads=1, device="cpu") for folder in (trained, quantized))
    expected = [answer.text for answer in parent.generate(prompts, 4)]
    got = [answer.text for answer in child.generate(prompts, 4)]
    assert sum(a == b for a, b in zip(expected, got, strict=True)) >= 29


def test_the_same_model_gives_the_same_bytes(trained, quantized, tmp_path):
    out = tmp_path / "elsewhere" / "model"
    assert main(["compress", "--recipe", RECIPE, "--from", str(trained), "--out", str(out)]) == 0
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        file.name: file.read_bytes() for file in quantized.iterdir()
    }


def test_the_model_names_the_builders_own_version_not_a_commit_of_the_repository_around_it(quantized):
    import onnx
    import onnxruntime_genai

    graph = onnx.load(quantized / "model.onnx", load_external_data=False)
    assert graph.producer_version.split("+")[1] in onnxruntime_genai.__commit__


def test_an_architecture_that_the_builder_does_not_know(trained, tmp_path, capfd):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_embd=32, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "gpt2" / name).write_bytes((trained / name).read_bytes())
    said = refused(capfd, "--settings", RECIPE, "--from", str(tmp_path / "gpt2"), "--out", str(tmp_path / "out"))
    assert "does not know this architecture" in said
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_what_cannot_be_compressed_is_named(trained, quantized, tmp_path, capfd):
    out = str(tmp_path / "out")
    assert "is quantised already" in refused(capfd, "--settings", RECIPE, "--from", str(quantized), "--out", out)
    assert "nor config.json in it" in refused(capfd, "--settings", RECIPE, "--from", str(tmp_path), "--out", out)
    (tmp_path / "greenllm.json").write_text("{")
    damaged = refused(capfd, "--settings", RECIPE, "--from", str(tmp_path), "--out", out)
    assert f"{tmp_path / 'greenllm.json'}: " in damaged
    no_threads = refused(capfd, "--settings", RECIPE, "--from", str(trained), "--threads", "0", "--out", out)
    assert "--threads 0: expected at least 1" in no_threads
    assert "quantize is missing" in refused(capfd, "--settings", "{train: {}}", "--from", str(trained), "--out", out)
