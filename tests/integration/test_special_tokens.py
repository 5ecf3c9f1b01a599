"""Labels and prompts that spell special tokens, from the file to the served answer."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_models
from deploying import deploy  # noqa: F401 - a fixture
from serving_fixtures import serving

from greenllm.cli import main
from greenllm.tokens import read_tokenizer

LABELS = {"price": "<unk>", "cancel": "<eos>", "send": "</s> <pad>"}


def run(*command: str) -> None:
    assert main(list(command)) == 0


def evaluate(folder: Path, model: Path, data: Path, max_tokens: int) -> list[dict[str, Any]]:
    """Evaluate a model into a folder; return the predictions."""
    inputs = ["--task", "customer-service", "--model", str(model), "--data", str(data), "--device", "cpu"]
    outputs = ["--out", str(folder / "evaluation.json"), "--predictions", str(folder / "predictions.jsonl")]
    run("evaluate", *inputs, "--settings", json.dumps({"bootstrap": 100, "max_tokens": max_tokens}), *outputs)
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().split("\n")[:-1]]


@pytest.fixture(scope="module", params=["bpe", "characters"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned labels that spell special tokens, and its evaluation."""
    folder = tmp_path_factory.mktemp(request.param)
    words = ["card", "lamp", "rug", "tent", "watch", "loan", "invoice", "kettle", "phone", "bag"]
    rows = [
        {"prompt": f"{verb} the {one} <eos> {other}", "completion": label}
        for verb, label in LABELS.items()
        for one in words
        for other in words
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    device, checkpoints = ["--device", "cpu"], ["--checkpoints", str(folder / "checkpoints")]
    task = ["--task", "customer-service"]
    data = json.dumps({"source": "file", "train": str(folder / "rows.jsonl")})
    prepared = json.dumps(
        {"near_duplicate": 1.0, "test_share": 0.2, "tokenizer": {"kind": request.param, "vocabulary": 320}}
    )
    training = json.dumps({"epochs": 12, "batch": 8, "learning_rate": 5e-3, "evaluations": 1})
    model = ["--model", '{"size": "tiny", "context": 64}']
    collected, prepared_data, trained = (str(folder / name) for name in ("collected", "data", "model"))
    run("collect", *task, "--settings", data, "--out", collected)
    run("preprocess", *task, "--settings", prepared, "--data", collected, "--out", prepared_data)
    run("train", "--settings", training, *model, "--data", prepared_data, *device, *checkpoints, "--out", trained)
    evaluate(folder, folder / "model", folder / "data", 12)
    return folder


def test_right_answers_that_spell_special_tokens_are_right(study: Path) -> None:
    lines = [json.loads(line) for line in (study / "predictions.jsonl").read_text().split("\n")[:-1]]
    assert {line["completion"] for line in lines} == set(LABELS.values())
    assert all(line["prediction"] == line["completion"] for line in lines)
    assert json.loads((study / "evaluation.json").read_text())["metrics"]["accuracy"]["value"] == 1


def test_served_answers_spell_them_too(study: Path) -> None:
    tokenizer = read_tokenizer(study / "model")
    with serving(study / "model", "--name", "tiny") as (_, url):
        for verb, label in LABELS.items():
            prompt = f"{verb} the card <eos> lamp"
            bodies: dict[str, dict[str, object]] = {
                "/v1/completions": {"prompt": f"{prompt}\n"},
                "/v1/chat/completions": {"messages": [{"role": "user", "content": prompt}]},
            }
            for path, body in bodies.items():
                answer = httpx.post(url + path, json=body, trust_env=False).json()
                (choice,) = answer["choices"]
                assert (choice.get("text") or choice["message"]["content"]) == label
                assert choice["finish_reason"] == "stop"
                assert answer["usage"]["prompt_tokens"] == len(tokenizer.encode(f"{prompt}\n").ids)
                with httpx.stream("POST", url + path, json={**body, "stream": True}, trust_env=False) as stream:
                    events = [line[6:] for line in stream.read().decode().split("\n") if line.startswith("data: {")]
                choices = [json.loads(event)["choices"][0] for event in events]
                said = [choice.get("text") or choice.get("delta", {}).get("content", "") for choice in choices]
                assert "".join(said) == label


def test_a_client_may_send_token_ids(study: Path) -> None:
    ids = read_tokenizer(study / "model").encode("price the card <eos> lamp\n").ids
    with serving(study / "model", "--name", "tiny") as (_, url):
        for prompt in (ids, [ids]):
            answer = httpx.post(f"{url}/v1/completions", json={"prompt": prompt}, trust_env=False).json()
            assert answer["choices"][0]["text"] == "<unk>"
            assert answer["usage"]["prompt_tokens"] == len(ids)
        refused = httpx.post(f"{url}/v1/completions", json={"prompt": [1, 10**9]}, trust_env=False)
        assert refused.status_code == 422
        assert "not a token id" in refused.json()["error"]["message"]


def test_a_chat_templates_special_tokens_reach_the_served_model(
    deploy: Callable[..., subprocess.CompletedProcess[str]],  # noqa: F811
    tmp_path: Path,
) -> None:
    model = tiny_models.make_fp32(tmp_path / "model")
    (model / "chat_template.jinja").write_text("<unk>{{ messages[-1].content }}<pad>answer<eos>")
    rows = [
        {"prompt": f"{'<eos>' * (n % 2)} {n} {text}", "completion": str(n % 3)}
        for n in range(40)
        for text in tiny_models.TEXTS
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = json.dumps({"source": "file", "train": str(tmp_path / "rows.jsonl")})
    task = ["--task", "customer-service"]
    run("collect", *task, "--settings", data, "--out", str(tmp_path / "collected"))
    chat = ["--settings", '{"near_duplicate": 1.0}', "--chat", "--model", str(model)]
    run("preprocess", *task, *chat, "--data", str(tmp_path / "collected"), "--out", str(tmp_path / "data"))
    lines = evaluate(tmp_path, model, tmp_path / "data", 6)
    for line in lines:
        assert [id for id in line["prompt_ids"] if id < 3] == [2, 0, 1]
        assert len(line["prompt_ids"]) == line["prompt_tokens"]
    done = deploy(model, rows=lines)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "measurement.json").read_text())["servers"][0]["agreement"]["share"] == 1


def test_data_in_the_chat_template_of_another_model_are_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ["--task", "customer-service"]
    chat = ["--settings", "{}", "--chat", "--model", str(study / "model")]
    run("preprocess", *task, *chat, "--data", str(study / "collected"), "--out", str(tmp_path / "data"))
    other = tiny_models.make_fp32(tmp_path / "other")
    inputs = [*task, "--model", str(other), "--data", str(tmp_path / "data")]
    assert main(["evaluate", *inputs, "--out", str(tmp_path / "e"), "--predictions", str(tmp_path / "p")]) == 2
    assert "another tokenizer" in capsys.readouterr().err
