"""Language modelling on own texts: from a file of rows to a likelihood on each engine, and a deployment's answers."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from tiny_models import CONTEXT
from tokenizers import Tokenizer

from greenllm.cli import main

TASK = ["--task", "language-modelling"]


def text(number: int) -> str:
    """A passage of two lines; every tenth is longer than the model's context."""
    line = f"Passage {number} says that the card number {number * 37} has not arrived yet,\nand asks what to do."
    return " ".join([line] * (1 + 9 * (number % 10 == 0)))


def prepare(folder: Path, data: dict[str, object], tokenizer: Path) -> int:
    collect = ["collect", *TASK, "--settings", json.dumps({"source": "file"} | data), "--base", str(folder)]
    assert main([*collect, "--out", str(folder / "collected")]) == 0
    preprocess = ["preprocess", *TASK, "--settings", '{"near_duplicate": 1}', "--model", str(tokenizer)]
    return main([*preprocess, "--data", str(folder / "collected"), "--out", str(folder / "data")])


def evaluate(folder: Path, model: Path, *, name: str = "evaluation", **settings: object) -> dict[str, Any]:
    command = ["evaluate", *TASK, "--settings", json.dumps({"max_tokens": 4, "bootstrap": 100} | settings)]
    command += ["--model", str(model), "--data", str(folder / "data"), "--device", "cpu"]
    files = [folder / f"{name}.json", folder / f"{name}.jsonl"]
    assert main([*command, "--out", str(files[0]), "--predictions", str(files[1])]) == 0
    lines = [json.loads(line) for line in files[1].read_text(encoding="utf-8").splitlines()]
    return {**json.loads(files[0].read_text()), "lines": lines}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, fp32: Path) -> Path:
    """Rows of a JSON lines file whose columns have other names, prepared."""
    folder = tmp_path_factory.mktemp("own")
    rows = [{"body": text(number), "chapter": f"c{number // 4}", "kind": "ab"[number % 2]} for number in range(200)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"text": "body", "group": "chapter", "subset": "kind"}
    assert prepare(folder, {"train": "own.jsonl", "columns": columns}, fp32) == 0
    return folder


def test_own_rows_become_a_beginning_and_its_rest_and_stay_with_their_group(own: Path) -> None:
    parts = {
        name: pyarrow.parquet.read_table(own / "data" / f"{name}.parquet").to_pylist() for name in ("train", "test")
    }
    for rows in parts.values():
        for row in rows:
            number = int(row["id"].removeprefix("train-")) - 1
            assert row["prompt"] + row["completion"] == text(number)
            assert (row["group"], row["subset"]) == (f"c{number // 4}", "ab"[number % 2])
    assert not {row["group"] for row in parts["train"]} & {row["group"] for row in parts["test"]}


def test_quality_is_the_likelihood_of_the_test_texts(own: Path, model: Path) -> None:
    evaluated = evaluate(own, model)
    lines = evaluated["lines"]
    nats, tokens, length = (sum(line[key] for line in lines) for key in ("nats", "scored_tokens", "scored_bytes"))
    metrics = evaluated["metrics"]
    assert evaluated["primary"] == "bits_per_byte"
    assert metrics["bits_per_byte"]["value"] == pytest.approx(nats / math.log(2) / length)
    assert metrics["perplexity"]["value"] == pytest.approx(math.exp(nats / tokens))
    assert metrics["bits_per_byte"]["low"] < metrics["bits_per_byte"]["value"] < metrics["bits_per_byte"]["high"]
    assert set(evaluated["subsets"]) == {"a", "b"}
    assert evaluated["hand_over"] is None

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    for line in lines:
        whole = line["prompt"] + line["completion"]
        ids = tokenizer.encode(whole).ids
        assert line["scored_tokens"] == len(ids) - 1
        assert line["scored_bytes"] == len(whole.encode()) - len(tokenizer.decode(ids[:1]).encode())
        assert line["tokens"] == 4  # deploy compares the answers
    assert max(line["scored_tokens"] for line in lines) > CONTEXT


def test_bits_per_byte_are_those_of_transformers_own_loss(own: Path, fp32: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(fp32)
    tokenizer = Tokenizer.from_file(str(fp32 / "tokenizer.json"))
    for line in evaluate(own, fp32)["lines"]:
        ids = torch.tensor([tokenizer.encode(line["prompt"] + line["completion"]).ids])
        if ids.shape[1] <= CONTEXT:
            with torch.inference_mode():
                loss = float(network(ids, labels=ids).loss)
            assert line["nats"] == pytest.approx(loss * (ids.shape[1] - 1), rel=1e-4)


def test_the_batch_size_changes_nothing(own: Path, model: Path) -> None:
    one, many = (evaluate(own, model, name=f"batch-{batch}", batch=batch) for batch in (1, 32))
    for key in ("bits_per_byte", "perplexity"):
        assert one["metrics"][key]["value"] == pytest.approx(many["metrics"][key]["value"], rel=1e-4)


def test_a_text_file_has_one_passage_per_line(tmp_path: Path, fp32: Path) -> None:
    (tmp_path / "own.txt").write_text("".join(f"{text(number).splitlines()[0]}\n\n" for number in range(60)))
    assert prepare(tmp_path, {"train": "own.txt"}, fp32) == 0
    lines = evaluate(tmp_path, fp32)["lines"]
    assert len(lines) == 6
    assert all(line["prompt"].startswith("Passage") for line in lines)


def test_texts_of_one_token_cannot_be_scored(
    tmp_path: Path,
    fp32: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"text": letter}) + "\n" for letter in "abcdefghijk"))
    assert prepare(tmp_path, {"train": "own.jsonl"}, fp32) == 0
    with pytest.raises(AssertionError):
        evaluate(tmp_path, fp32)
    last = capfd.readouterr().err.splitlines()[-1]
    assert "test.parquet: no text of two tokens or more" in last
    assert not (tmp_path / "evaluation.json").exists()
