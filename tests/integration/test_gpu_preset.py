"""config/gpu.yaml, run on tiny models of its three architectures from a hub on loopback, without a GPU.

vLLM is stood in for by a program of its command line that serves the model through its OpenAI interface.
"""

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from fake_hub import COMMIT, fake_hub

ROOT = Path(__file__).parents[2]
PRESET = yaml.safe_load((ROOT / "config/gpu.yaml").read_text())
INTENTS = {"where is my card": "card_arrival", "what is the exchange rate": "exchange_rate", "a new PIN": "change_pin"}
OPENINGS = ("please", "hello", "can you tell me", "sorry", "good morning", "one question")
# As each family marks whose turn it is.
TEMPLATES = {
    "qwen": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n",
    "llama": "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}"
    "<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n",
}
VLLM = """\
#!/bin/sh
# vllm serve MODEL --served-model-name NAME --port PORT --max-model-len TOKENS
exec {python} -m greenllm serve "$2" --name "$4" --port "$6" --threads 1 --device cpu
"""


def make_model(family: str, folder: Path) -> dict[str, bytes]:
    """Write a tiny model of a family's architecture with random weights; return its files."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

    from greenllm.config.models import TokenizerSettings
    from greenllm.data.tokenizer import save_tokenizer, train_tokenizer

    texts = [*OPENINGS, *INTENTS, *INTENTS.values(), "system user assistant model"]
    tokenizer = train_tokenizer(texts * 3, TokenizerSettings(vocabulary=400))
    save_tokenizer(tokenizer, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"bos_token": "<eos>"}
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATES[family])
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"vocab_size": tokenizer.get_vocab_size(), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    of = {"qwen": Qwen2Config, "llama": LlamaConfig, "gemma": Gemma3TextConfig}[family]
    torch.manual_seed(0)
    config = of(**shape, **ids, num_key_value_heads=1, head_dim=32, max_position_embeddings=256)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(tmp_path):
    """A hub with a model for each experiment of the preset; its address."""
    models = {
        f"models/{experiment['model']['init']}": make_model(name, tmp_path / name)
        for name, experiment in PRESET["experiments"].items()
    }
    with fake_hub(models) as (address, _):
        yield address


def write_questions(path: Path, openings: tuple[str, ...]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category"])
        for number in range(6):
            rows = [(f"{o}, {q} {number}?", intent) for o in openings for q, intent in INTENTS.items()]
            writer.writerows(rows)


def test_the_preset_runs_on_tiny_models_of_its_architectures(hub, tmp_path):
    write_questions(tmp_path / "train.csv", OPENINGS[:4])
    write_questions(tmp_path / "test.csv", OPENINGS[4:])
    vllm = tmp_path / "vllm"
    vllm.write_text(VLLM.format(python=sys.executable))
    vllm.chmod(vllm.stat().st_mode | stat.S_IXUSR)
    recipes = PRESET["recipes"]
    adapted = recipes["adapted"] | {"train": recipes["adapted"]["train"] | {"epochs": 1}}
    overrides = {
        "device": "cpu",
        "data_folder": str(tmp_path),
        "experiments": {
            name: {"recipes": ["adapted"], "model": {"revision": COMMIT}, "preprocess": {"near_duplicate": 1}}
            for name in PRESET["experiments"]
        },
        "recipes": {"adapted": adapted},
        "evaluate": {"max_tokens": 4},
        "deploy": {
            "concurrency": [2], "requests": 6, "rounds": 2, "round_s": 0, "idle_s": 0, "warmup": 1,
            "server": PRESET["deploy"]["server"].replace(".venv-vllm/bin/vllm", str(vllm)),
        },
        "resources": {stage: {"threads": 1} for stage in ("train", "compress", "evaluate", "measure")},
    }  # fmt: skip
    (tmp_path / "overrides.json").write_text(json.dumps(overrides))
    place = ["--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    place += ["--configfile", ROOT / "config/gpu.yaml", tmp_path / "overrides.json"]
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    command = [Path(sys.executable).with_name("snakemake"), *place, "--cores", "8", "--resources", "gpu=1"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-4000:]

    results = tmp_path / PRESET["results"]
    account = json.loads((results / "report/summary.json").read_text())
    for name in PRESET["experiments"]:
        training = json.loads((results / f"models/{name}/adapted/seed-1/model/training.json").read_text())
        assert 0 < training["trainable_parameters"] < 0.5 * training["parameters"]
        source = json.loads((results / f"models/{name}/source/source.json").read_text())
        assert source["revision"] == COMMIT
        predictions = (results / f"evaluations/{name}/adapted/seed-1.predictions.jsonl").read_text().splitlines()
        prompt = json.loads(predictions[0])["prompt"]
        assert prompt.rstrip().endswith(TEMPLATES[name].rpartition("%}")[2].rstrip())
        assert ("Name the intent" in prompt) == (name != "gemma")
        measured = json.loads((results / f"measurements/{name}/seed-1.json").read_text())
        for server in measured["servers"]:
            assert server["points"][0]["answered"] >= 6
            assert server["agreement"]["share"] >= PRESET["deploy"]["agreement"]
        (row,) = account["experiments"][name]["comparison"]["recipes"]
        assert row["quality"]["metric"] == "accuracy"
    bom = json.loads((results / "exports/cyclonedx/bom.json").read_text())
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(bom)) is None
    models = [one for one in bom["components"] if one["type"] == "machine-learning-model"]
    assert len(models) == len(PRESET["experiments"])
    for model in models:
        energies = model["modelCard"]["considerations"]["environmentalConsiderations"]["energyConsumptions"]
        assert "fine-tuning" in {energy["activity"] for energy in energies}
