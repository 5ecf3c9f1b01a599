"""`greenllm compress`: a small trained model, quantised by ONNX Runtime GenAI's model builder."""

import json
import shutil

import pytest
from prepared_data import rows, train_command, write_prepared
from tiny_models import compress
from transformers import LlamaConfig, LlamaForCausalLM

from greenllm.cli import main
from greenllm.engines import ScoresTexts, load_engine
from greenllm.model_folder.manifest import read_manifest

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


def agreement(*folders):
    """Return how many of 30 prompts all models answer equally."""
    prompts = [row["prompt"] for row in rows("test", 30)]
    engines = [load_engine(folder, threads=1, device="cpu") for folder in folders]
    answers = [[answer.text for answer in engine.generate(prompts, 4)] for engine in engines]
    return sum(len(set(given)) == 1 for given in zip(*answers, strict=True))


def llama(**settings):
    shape = {"vocab_size": 20, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32}
    return LlamaConfig(**shape | heads | settings)


def test_an_int8_model_folder_is_written(trained, quantized):
    before, after = (json.loads((folder / "greenllm.json").read_text()) for folder in (trained, quantized))
    assert (after["engine"], after["precision"]) == ("onnxruntime-genai", "int8")
    assert {**after, "engine": "transformers", "precision": "fp32"} == before
    assert (quantized / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    report = json.loads((quantized / "compression.json").read_text())
    assert report["bytes"]["before"] == (trained / "model.safetensors").stat().st_size
    # 8 bits per weight and 32 bits of scale per 32 weights, instead of 32 bits per weight; and the graph.
    assert report["bytes"]["after"] < 0.4 * report["bytes"]["before"]
    assert report["parameters"] == {"before": before["parameters"], "after": before["parameters"]}


def test_the_quantised_model_answers_as_its_parent_does(trained, quantized):
    assert agreement(trained, quantized) >= 29


@pytest.mark.parametrize("method", ["default", "k_quant_mixed"])
def test_an_int4_model_is_smaller_and_answers_mostly_as_its_parent_does(method, trained, quantized, tmp_path):
    recipe = f"quantize: {{format: int4, method: {method}, block: 16}}"
    folder = compress(trained, tmp_path / "int4", recipe)
    assert read_manifest(folder).precision == "int4"
    report, int8 = (json.loads((made / "compression.json").read_text()) for made in (folder, quantized))
    assert (report["recipe"], report["method"], report["block"]) == ("int4", method, 16)
    assert report["bytes"]["after"] < int8["bytes"]["after"]
    assert agreement(trained, folder) >= 27


def test_int4_of_a_model_whose_layers_are_too_narrow(trained, tmp_path, capfd):
    narrow = tmp_path / "narrow"
    LlamaForCausalLM(llama(hidden_size=48, intermediate_size=96)).save_pretrained(narrow)
    out = tmp_path / "out"
    said = refused(capfd, "--recipe", "quantize: int4", "--from", str(narrow), "--out", str(out))
    assert "self_attn.q_proj is 48 wide, which is not a multiple of the 32 weights that share a scale" in said
    assert not out.exists()


def test_the_same_model_gives_the_same_bytes(trained, quantized, tmp_path):
    out = tmp_path / "elsewhere" / "model"
    assert main(["compress", "--recipe", RECIPE, "--from", str(trained), "--out", str(out)]) == 0
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        file.name: file.read_bytes() for file in quantized.iterdir()
    }


def test_the_graph_of_the_last_token_answers_as_the_graph_of_all_tokens(quantized, tmp_path):
    import onnx

    graph = onnx.load(quantized / "last_token.onnx", load_external_data=False).graph
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == 1
    alone = tmp_path / "alone"  # as a folder of an earlier version
    shutil.copytree(quantized, alone)
    (alone / "last_token.onnx").unlink()
    engine, earlier = (load_engine(folder, threads=1, device="cpu") for folder in (quantized, alone))
    texts = sorted({row["prompt"] for row in rows("test", 30)}, key=len)
    prompts = [texts[-1], texts[0], texts[-1] + texts[0]]  # of several lengths: padded together
    answers = earlier.generate(prompts, 4, confidence=True)
    assert engine.generate(prompts, 4, confidence=True) == answers
    assert isinstance(engine, ScoresTexts)
    assert isinstance(earlier, ScoresTexts)
    assert engine.score(texts) == earlier.score(texts)
    assert engine.generate(prompts, 4, confidence=True) == answers


def test_the_model_names_the_builders_version_not_a_commit_of_the_surrounding_repository(quantized):
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
    said = refused(capfd, "--recipe", RECIPE, "--from", str(tmp_path / "gpt2"), "--out", str(tmp_path / "out"))
    assert "does not know this architecture" in said
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_what_cannot_be_compressed_is_named(trained, quantized, tmp_path, capfd):
    out = str(tmp_path / "out")
    assert "is quantised already" in refused(capfd, "--recipe", RECIPE, "--from", str(quantized), "--out", out)
    assert "nor config.json in it" in refused(capfd, "--recipe", RECIPE, "--from", str(tmp_path), "--out", out)
    (tmp_path / "greenllm.json").write_text("{")
    damaged = refused(capfd, "--recipe", RECIPE, "--from", str(tmp_path), "--out", out)
    assert f"{tmp_path / 'greenllm.json'}: " in damaged
    no_threads = refused(capfd, "--recipe", RECIPE, "--from", str(trained), "--threads", "0", "--out", out)
    assert "--threads 0: expected at least 1" in no_threads
    nothing = refused(capfd, "--recipe", "{train: {}}", "--from", str(trained), "--out", out)
    assert "has nothing to compress" in nothing
    two = "{quantize: int8, sparsify: {share: 0.5}}"
    both = refused(capfd, "--recipe", two, "--from", str(trained), "--out", out)
    assert "--recipe: quantize and sparsify in one recipe" in both


def test_torchaos_int8_runs_in_pytorch(trained, tmp_path):
    pytest.importorskip("torchao", reason="torchao is not installed (make gpu)")
    folder = compress(trained, tmp_path / "int8", "quantize: {format: int8, library: torchao}")
    assert (read_manifest(folder).engine, read_manifest(folder).precision) == ("transformers", "int8")
    report = json.loads((folder / "compression.json").read_text())
    assert report["bytes"]["after"] < 0.4 * report["bytes"]["before"]
    assert agreement(trained, folder) >= 29


def test_torchaos_int4_needs_a_gpu(trained, tmp_path, capfd):
    pytest.importorskip("torchao", reason="torchao is not installed (make gpu)")
    recipe = "quantize: {format: int4, library: torchao}"
    said = refused(capfd, "--recipe", recipe, "--from", str(trained), "--device", "cpu", "--out", str(tmp_path / "out"))
    assert "torchao's int4 needs a GPU" in said


def test_a_method_is_for_onnx_runtime(trained, tmp_path, capfd):
    recipe = "quantize: {format: int4, library: torchao, method: k_quant}"
    said = refused(capfd, "--recipe", recipe, "--from", str(trained), "--out", str(tmp_path / "out"))
    assert "method is for ONNX Runtime" in said
