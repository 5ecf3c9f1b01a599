"""`greenllm collect` and `collect-model` from a Hugging Face hub (one on loopback) and from folders."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_hub import COMMIT, fake_hub
from safetensors.numpy import save

from greenllm.model_folder.manifest import read_manifest


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


FEATURES = {
    "info": {
        "features": {
            "text": {"dtype": "string", "_type": "Value"},
            "label": {"names": ["card_lost", "pin_change"], "_type": "ClassLabel"},
        }
    }
}
LABELLED = pa.table({"text": ["my card is gone", "a new PIN please"], "label": pa.array([0, 1], pa.int64())})
LABELLED = LABELLED.replace_schema_metadata({"huggingface": json.dumps(FEATURES)})
RATINGS = pa.table(
    {
        "text": ["a", "b", "c", None],
        "label": pa.array([1, -1, 0, 0], pa.int64()),
        "stars": [4.0, float("nan"), 2.5, None],
        "fine": [True, False, None, None],
    }
)
RATINGS = RATINGS.replace_schema_metadata(
    {
        "huggingface": json.dumps(
            {
                "info": {
                    "features": {
                        **FEATURES["info"]["features"],
                        "stars": {"dtype": "float64", "_type": "Value"},
                        "fine": {"dtype": "bool", "_type": "Value"},
                    }
                }
            }
        )
    }
)
PAIRS = b'{"pair": {"en": "three", "de": "drei"}}\n{"pair": {"en": "two", "de": "zwei"}}\n'
CARD = b"---\nlicense: cc-by-4.0\n---\n"
CONFIG = {
    "model_type": "llama",
    "max_position_embeddings": 64,
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
WEIGHTS = save({"weight": np.zeros(2)})
MODEL = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickled",
    "modeling_own.py": b"code",
    "onnx/model.onnx": b"another layout",
}
REPOSITORIES = {
    "datasets/own/labelled": {"README.md": CARD, "train.parquet": parquet(LABELLED)},
    "datasets/own/ratings": {"README.md": CARD, "train.parquet": parquet(RATINGS)},
    "datasets/own/pairs": {"README.md": CARD, "train.jsonl": PAIRS},
    "models/own/model": MODEL,
    "models/own/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickled"},
    "models/own/private": MODEL,
    "models/own/gated": MODEL,
    "models/own/gguf": {"README.md": CARD, "model.Q8_0.gguf": b"GGUF"},
    "models/own/rare": {**MODEL, "config.json": json.dumps({**CONFIG, "architectures": ["RareForCausalLM"]}).encode()},
    "datasets/own/private": {"README.md": CARD, "train.jsonl": PAIRS},
}
TOKEN = "hf_a_token_of_ours"
PRIVATE = {"models/own/private": TOKEN, "datasets/own/private": TOKEN}


@pytest.fixture(scope="module")
def hub():
    with fake_hub(REPOSITORIES, PRIVATE, gated={"models/own/gated"}) as (address, requests):
        yield address, requests


@pytest.fixture
def greenllm(hub, tmp_path):
    """Run a greenllm command that sees the hub on loopback and has a separate cache."""

    def run(*arguments, endpoint=hub[0], **variables):
        # The endpoint is read when huggingface_hub is imported: hence a separate process.
        environment = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "cache"),
            "NO_PROXY": "127.0.0.1",
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "greenllm", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def collect(greenllm, out, task="translation", **settings):
    settings = {"source": "hub", "revision": "main", **settings}
    return greenllm("collect", "--task", task, "--settings", json.dumps(settings), "--out", out)


def one_line(result):
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("greenllm ")]
    assert "Traceback" not in result.stderr
    return line


def test_class_labels_are_read_as_their_names(greenllm, tmp_path):
    columns = {"prompt": "text", "completion": "label"}
    result = collect(greenllm, tmp_path / "out", "customer-service", id="own/labelled", columns=columns)
    assert result.returncode == 0, result.stderr
    assert pq.read_table(tmp_path / "out" / "train.parquet").to_pylist() == [
        {"row": 1, "prompt": "my card is gone", "completion": "card_lost"},
        {"row": 2, "prompt": "a new PIN please", "completion": "pin_change"},
    ]
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert (card["licence"], card["revision"], card["id"]) == ("cc-by-4.0", COMMIT, "own/labelled")
    assert card["bytes"] == (tmp_path / "out" / "train.parquet").stat().st_size  # not that of all of its splits


def test_missing_values_on_the_hub_are_missing_here(greenllm, tmp_path):
    columns = {"prompt": "text", "completion": "label", "group": "stars", "subset": "fine"}
    result = collect(greenllm, tmp_path / "out", "customer-service", id="own/ratings", columns=columns)
    assert result.returncode == 0, result.stderr
    assert pq.read_table(tmp_path / "out" / "train.parquet").to_pylist() == [
        {"row": 1, "prompt": "a", "completion": "pin_change", "group": "4", "subset": "true"},
        {"row": 3, "prompt": "c", "completion": "card_lost", "group": "2.5", "subset": ""},
    ]
    bad = json.loads((tmp_path / "out" / "card.json").read_text())["bad_rows"]
    assert [(row["row"], row["reason"]) for row in bad] == [
        (2, "'label' is null, expected text"),
        (4, "'text' is null, expected text"),
    ]


def test_nested_columns_are_named_with_a_dot(greenllm, tmp_path):
    result = collect(greenllm, tmp_path / "out", id="own/pairs", columns={"prompt": "pair.en", "completion": "pair.de"})
    assert result.returncode == 0, result.stderr
    assert pq.read_table(tmp_path / "out" / "train.parquet").column("completion").to_pylist() == ["drei", "zwei"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id": "own/none"}, "has no such data set"),
        ({"id": "not an id"}, "has no such data set"),
        ({"id": "own/pairs", "revision": "gone"}, "no such revision"),
        ({"id": "own/pairs", "train": "training"}, "training"),
        ({"id": "own/pairs"}, "no column 'prompt'; known: pair.en, pair.de"),
    ],
)
def test_what_the_hub_does_not_have_is_reported_in_one_line(greenllm, tmp_path, settings, message):
    assert message in one_line(collect(greenllm, tmp_path / "out", **settings))
    assert not (tmp_path / "out").exists()


def test_without_a_network_it_says_so(greenllm, tmp_path):
    nobody = "http://127.0.0.1:9"  # the discard port, where nothing listens
    settings = json.dumps({"source": "hub", "id": "own/pairs", "revision": "main"})
    result = greenllm(
        "collect", "--task", "translation", "--settings", settings, "--out", tmp_path / "out", endpoint=nobody
    )
    assert f"{nobody} can't be reached" in one_line(result)
    result = greenllm("collect-model", "--settings", "{init: own/model}", "--out", tmp_path / "out", endpoint=nobody)
    assert f"{nobody} can't be reached" in one_line(result)


def test_a_model_comes_without_pickles_and_code(hub, greenllm, tmp_path):
    result = greenllm("collect-model", "--settings", "{init: own/model}", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != ".greenllm-written")
    assert names == ["config.json", "greenllm.json", "model.safetensors", "source.json", "tokenizer.json"]
    known = read_manifest(tmp_path / "out")
    assert (known.engine, known.precision, known.context) == ("transformers", "fp32", 64)
    # Embedding and output layer; four projections, three of feed-forward and two norms; the last norm.
    assert known.parameters == 2 * 96 * 32 + 4 * 32 * 32 + 3 * 32 * 64 + 2 * 32 + 32
    assert known.forward_flops
    fetched = [request for request in hub[1] if "own/model/resolve" in request]
    assert fetched
    assert not [request for request in fetched if request.endswith((".bin", ".py", ".onnx"))]
    assert json.loads((tmp_path / "out" / "source.json").read_text())["revision"] == COMMIT


def test_what_is_private_needs_the_token(greenllm, tmp_path):
    model = ["collect-model", "--settings", "{init: own/private, revision: main}", "--out", tmp_path / "model"]
    columns = {"prompt": "pair.en", "completion": "pair.de"}
    settings = json.dumps({"source": "hub", "id": "own/private", "revision": "main", "columns": columns})
    data = ["collect", "--task", "translation", "--settings", settings, "--out", tmp_path / "data"]
    for command in (model, data):
        assert "a private one needs HF_TOKEN" in one_line(greenllm(*command, HF_TOKEN=""))
        result = greenllm(*command, HF_TOKEN=TOKEN)
        assert result.returncode == 0, result.stderr
    written = [path.read_bytes() for name in ("model", "data") for path in (tmp_path / name).iterdir()]
    assert not [content for content in written if TOKEN.encode() in content]


def test_what_is_in_the_cache_needs_no_network(hub, greenllm, tmp_path):
    settings = f"{{init: own/model, revision: {COMMIT}}}"
    cache = str(tmp_path / "shared")
    result = greenllm("collect-model", "--settings", settings, "--out", tmp_path / "out", HF_HOME=cache)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "shared" / "hub" / "models--own--model").rglob("model.safetensors"))
    asked = len(hub[1])
    offline = {"HF_HOME": cache, "HF_HUB_OFFLINE": "1"}
    result = greenllm("collect-model", "--settings", settings, "--out", tmp_path / "again", **offline)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == WEIGHTS
    assert len(hub[1]) == asked


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("own/none", "has no such model"),
        ("own/pickled", "no *.safetensors"),
        ("own/gated", "request access on the hub, then set HF_TOKEN"),
        ("own/gguf", "holds GGUF files; download one, such as model.Q8_0.gguf, and name its path"),
        ("./gone", "no such model folder"),
        ("models/gone.gguf", "no such GGUF file"),
    ],
)
def test_a_folder_that_is_no_model_is_reported_in_one_line(greenllm, tmp_path, init, message):
    assert message in one_line(greenllm("collect-model", "--settings", f"init: {init}", "--out", tmp_path / "out"))


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ("{init: own/rare}", ["--engine", "onnxruntime-genai"], "does not know the architecture RareForCausalLM"),
        ("{init: own/model, chat: true}", [], "has no chat template"),
    ],
)
def test_a_model_that_the_study_cannot_use_is_refused_before_its_weights_are_fetched(
    hub, greenllm, tmp_path, settings, options, message
):
    result = greenllm("collect-model", "--settings", settings, *options, "--out", tmp_path / "out")
    assert message in one_line(result)
    assert not list((tmp_path / "cache").rglob("model.safetensors"))


def test_a_local_folder_is_copied_and_its_shards_are_checked(greenllm, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin"):
        (folder / name).write_bytes(MODEL[name])
    result = greenllm("collect-model", "--settings", f"init: {folder}", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == WEIGHTS
    assert not (tmp_path / "out" / "pytorch_model.bin").exists()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    result = greenllm("collect-model", "--settings", f"init: {folder}", "--out", tmp_path / "again")
    assert "names model-00002-of-00002.safetensors, which is not there" in one_line(result)
    (folder / "model.safetensors.index.json").write_text("{")
    result = greenllm("collect-model", "--settings", f"init: {folder}", "--out", tmp_path / "again")
    assert "model.safetensors.index.json: expected a JSON object" in one_line(result)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "config.json").write_text('{"model_type": "t5"}')
    result = greenllm("collect-model", "--settings", f"init: {folder}", "--out", tmp_path / "again")
    assert "config.json: t5 is no causal language model" in one_line(result)
    assert not (tmp_path / "again").exists()
