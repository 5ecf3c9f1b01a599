"""Multiple choice: from own rows with choices to their likelihood on each engine."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_models import CONTEXT, PROMPTS, TEXTS, without_finite_weights
from tokenizers import Tokenizer

from greenllm.cli import main
from greenllm.engines import Prompt, PromptError, PromptTooLong, ScoresTexts, load_engine

TASK = ["--task", "multiple-choice"]
WORDS = ["the card", "my PIN", "a transfer", "银行卡"]


def scoring_engine(path: Path) -> ScoresTexts:
    engine = load_engine(path, threads=1, device="cpu")
    assert isinstance(engine, ScoresTexts)
    return engine


@pytest.mark.parametrize(
    ("context", "continuation"), [(TEXTS[0], " I want"), (TEXTS[1] + " \n", "the card."), ("x", TEXTS[5])]
)
def test_a_continuations_likelihood_is_that_of_transformers(fp32: Path, context: str, continuation: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.from_file(str(fp32 / "tokenizer.json"))
    before, whole = (tokenizer.encode(text).ids for text in (context.rstrip(), context + continuation))
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(fp32)(torch.tensor([whole])).logits[0, len(before) - 1 : -1]
    wanted = torch.tensor(whole[len(before) :])
    (found,) = scoring_engine(fp32).loglikelihoods([(context, continuation)])
    assert found.nats == pytest.approx(-float(logits.log_softmax(-1).gather(1, wanted[:, None]).sum()), rel=1e-6)
    assert found.greedy == bool((logits.argmax(-1) == wanted).all())
    assert (found.tokens, found.context_tokens) == (len(wanted), len(before))
    assert found.bytes == len(continuation.encode())


def test_a_continuation_that_the_model_would_generate_is_greedy(model: Path) -> None:
    engine = load_engine(model, threads=1, device="cpu")
    ids = tuple(Tokenizer.from_file(str(model / "tokenizer.json")).encode(PROMPTS[0]).ids)
    (answer,) = engine.generate([PROMPTS[0]], 6, confidence=True)
    tokens = Tokenizer.from_file(str(model / "tokenizer.json")).encode(answer.text).ids
    assert isinstance(engine, ScoresTexts)
    said, other = engine.loglikelihoods([(Prompt(PROMPTS[0], ids), answer.text), (Prompt(PROMPTS[0], ids), TEXTS[3])])
    assert not other.greedy
    if len(tokens) == answer.tokens:
        assert said.greedy
        assert said.nats < other.nats


def test_a_continuation_is_scored_alike_alone_and_among_others(model: Path) -> None:
    engine = scoring_engine(model)
    pairs = [(prompt, word) for prompt in PROMPTS for word in WORDS]
    for pair, found in zip(pairs, engine.loglikelihoods(pairs), strict=True):
        (alone,) = engine.loglikelihoods([pair])
        assert found.nats == pytest.approx(alone.nats, rel=1e-4)
        assert (found.tokens, found.bytes) == (alone.tokens, alone.bytes)


def test_a_context_that_is_too_long_loses_its_beginning(model: Path) -> None:
    engine = scoring_engine(model)
    long, shorter = engine.loglikelihoods([(" ".join(TEXTS * many), WORDS[0]) for many in (8, 7)])
    assert long.context_tokens + long.tokens == CONTEXT + 1
    assert long.nats == pytest.approx(shorter.nats, rel=1e-4)
    with pytest.raises(PromptTooLong, match=f"the model reads at most {CONTEXT}"):
        engine.loglikelihoods([("x", " ".join(TEXTS * 8))])
    with pytest.raises(PromptError, match="the context is empty"):
        engine.loglikelihoods([(" ", "x")])
    with pytest.raises(PromptError, match="has no token of its own"):
        engine.loglikelihoods([("x", "")])


def prepare(folder: Path, file: str, model: Path, *more: str, **columns: str) -> int:
    test = {"test": "test.jsonl"} if (folder / "test.jsonl").exists() else {}
    data = {"source": "file", "train": file, "columns": columns, **test}
    collect = ["collect", *TASK, "--settings", json.dumps(data), "--base", str(folder)]
    assert main([*collect, "--out", str(folder / "collected")]) == 0
    preprocess = ["preprocess", *TASK, "--settings", '{"near_duplicate": 1}', "--model", str(model)]
    return main([*preprocess, "--data", str(folder / "collected"), "--out", str(folder / "data"), *more])


def evaluate(folder: Path, model: Path) -> int:
    command = ["evaluate", *TASK, "--settings", json.dumps({"max_tokens": 4, "bootstrap": 100})]
    command += ["--model", str(model), "--data", str(folder / "data"), "--device", "cpu"]
    return main([*command, "--out", str(folder / "metrics.json"), "--predictions", str(folder / "predictions.jsonl")])


def question(number: int) -> dict[str, Any]:
    return {"question": f"Question {number}:\nwhat has not arrived?", "options": WORDS, "key": "ABCD"[number % 4]}


def test_quality_is_the_share_of_right_choices_among_the_likeliest(tmp_path: Path, model: Path) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(question(number)) + "\n" for number in range(100)))
    assert prepare(tmp_path, "own.jsonl", model, prompt="question", choices="options", answer="key") == 0
    assert evaluate(tmp_path, model) == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    engine, right = scoring_engine(model), 0
    for line in lines:
        number = int(line["prompt"].split()[1].removesuffix(":"))
        assert line["prompt"] == question(number)["question"] + "\n"
        assert (line["choices"], line["completion"]) == (WORDS, WORDS[number % 4])
        expected = [found.nats for found in engine.loglikelihoods([(line["prompt"], word) for word in WORDS])]
        assert line["choice_nats"] == pytest.approx(expected, rel=1e-4)
        right += line["choice_nats"].index(min(line["choice_nats"])) == number % 4
        assert line["tokens"] == 4  # deploy compares the answers
    assert report["primary"] == "accuracy"
    assert report["metrics"]["accuracy"]["value"] == pytest.approx(right / len(lines))
    assert report["metrics"]["accuracy"]["low"] < report["metrics"]["accuracy"]["high"]
    assert set(report["metrics"]) == {"accuracy", "accuracy_by_length"}
    assert report["hand_over"] is None


def test_a_csv_file_has_its_choices_as_json(tmp_path: Path, fp32: Path) -> None:
    rows = [f'question {number},"[""yes"", ""no"", ""{number}""]",{number % 3}.0' for number in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["prompt,choices,answer", *rows]) + "\n")
    assert prepare(tmp_path, "own.csv", fp32) == 0
    assert evaluate(tmp_path, fp32) == 0
    line = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    number = int(line["prompt"].split()[1])
    assert line["choices"] == ["yes", "no", str(number)]
    assert line["completion"] == line["choices"][number % 3]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"answer": 4},
            "the answer is '4'; expected the number of one of the 3 choices, counted from 0, or its letter",
        ),
        ({"answer": "D"}, "the answer is 'D'; expected"),
        ({"choices": ["yes"]}, "expected two or more different texts"),
        ({"choices": ["yes", "no", "yes "]}, "expected two or more different texts"),
        ({"choices": "yes or no"}, "the choices are not a list of texts"),
        ({"choices": ["yes", None]}, "'choices[1]' is null, expected text"),
    ],
)
def test_a_row_without_usable_choices_is_named(
    tmp_path: Path, fp32: Path, capfd: pytest.CaptureFixture[str], row: dict[str, object], said: str
) -> None:
    good = [{"prompt": f"question {number}", "choices": ["yes", "no", "both"], "answer": 1} for number in range(30)]
    rows = [*good, good[0] | row]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert prepare(tmp_path, "own.jsonl", fp32) == 2
    shown = capfd.readouterr().err
    assert f"own.jsonl: row 31: {said}" in shown or "own.jsonl: row 31: the choices are" in shown
    assert said in shown


def test_an_endpoint_reports_no_likelihoods(tmp_path: Path, fp32: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(question(number)) + "\n" for number in range(60)))
    assert prepare(tmp_path, "own.jsonl", fp32, prompt="question", choices="options", answer="key") == 0
    endpoint = tmp_path / "endpoint"
    endpoint.mkdir()
    manifest = {"engine": "openai-endpoint", "endpoint": {"url": "http://127.0.0.1:9/v1"}}
    (endpoint / "greenllm.json").write_text(json.dumps(manifest))
    assert evaluate(tmp_path, endpoint) == 2
    assert "the engine openai-endpoint cannot compute the likelihood of a given answer" in capfd.readouterr().err


def test_what_cannot_be_scored_is_one_line(tmp_path: Path, fp32: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(question(number)) + "\n" for number in range(60)))
    assert prepare(tmp_path, "own.jsonl", fp32, prompt="question", choices="options", answer="key") == 0
    assert evaluate(tmp_path, without_finite_weights(fp32, tmp_path / "broken")) == 2
    assert "likelihood is not finite" in capfd.readouterr().err
    table = pq.read_table(tmp_path / "data/test.parquet")
    long = json.dumps([" ".join(TEXTS * 8), "the card"])
    changed = table.set_column(table.schema.get_field_index("choices"), "choices", [[long] * len(table)])
    pq.write_table(changed, tmp_path / "data/test.parquet")
    assert evaluate(tmp_path, fp32) == 2
    said = capfd.readouterr().err
    assert f"test.parquet: row {table['id'][0]}: the continuation has" in said
    pq.write_table(table.drop_columns("choices"), tmp_path / "data/test.parquet")
    assert evaluate(tmp_path, fp32) == 2
    assert "test.parquet: it has no choices; expected data prepared for a task with choices" in capfd.readouterr().err


def test_a_prompt_that_leaves_no_room_for_a_choice_is_reported(
    tmp_path: Path, fp32: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": f"question {number}", "choices": ["yes", "card " * (60 if number == 7 else 3)], "answer": 0}
        for number in range(20)
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.jsonl").write_text(
        "".join(json.dumps({"prompt": f"ask {n}", "choices": ["yes", "no"], "answer": 0}) + "\n" for n in range(20))
    )
    assert prepare(tmp_path, "own.jsonl", fp32, "--context", "40") == 0
    assert "1 of 20 rows to test on are longer" in capfd.readouterr().err


def test_rows_with_other_choices_are_no_duplicates(tmp_path: Path, fp32: Path) -> None:
    rows = [{"prompt": f"question {n}", "choices": ["yes", other], "answer": 0} for n in range(30) for other in "abb"]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert prepare(tmp_path, "own.jsonl", fp32) == 0
    assert json.loads((tmp_path / "data/report.json").read_text())["rows"]["duplicates_dropped"] == 30
