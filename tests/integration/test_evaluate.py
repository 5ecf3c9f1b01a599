"""`greenllm evaluate`: a small trained model on its test split."""

import json
import shutil
import statistics

import pyarrow
import pyarrow.parquet
import pytest
from predicted import predicted
from prepared_data import rows, train_command, write_prepared

from greenllm.cli import main
from greenllm.comparison.quality import paired_difference
from greenllm.config.models import Evaluation
from greenllm.documents.evaluation import EvaluationReport
from greenllm.documents.prediction import Prediction, read_predictions
from greenllm.evaluation.evaluate import evaluate as evaluate_model
from greenllm.tasks import TASKS
from greenllm.tasks.bootstrap import scores_with_intervals


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data and a model that knows some answers and not others."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(train_command(write_prepared(folder / "data", train=200), folder, epochs=1, evaluations=1)) == 0
    return folder


def evaluate(folder, out, data=None, **settings):
    command = ["evaluate", "--task", "customer-service", "--model", str(folder / "model"), "--device", "cpu"]
    command += ["--settings", json.dumps({"bootstrap": 200, "max_tokens": 4} | settings)]
    command += ["--data", str(data or folder / "data")]
    return main([*command, "--out", str(out / "metrics.json"), "--predictions", str(out / "predictions.jsonl")])


def read(out):
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((out / "metrics.json").read_text()), [json.loads(line) for line in lines]


def test_metrics_are_those_of_the_predictions(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLLM_WORK", str(tmp_path / "work.json"))
    assert evaluate(folder, tmp_path) == 0
    metrics, predictions = read(tmp_path)
    right = sum(line["prediction"] == line["completion"] for line in predictions)
    accuracy = metrics["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(right / 50)
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.2
    assert (metrics["schema"], metrics["task"], metrics["primary"]) == (
        "greenllm/evaluation/1", "customer-service", "accuracy",
    )  # fmt: skip
    assert (metrics["engine"], metrics["precision"], metrics["examples"]) == ("transformers", "fp32", 50)
    assert metrics["finish"]["stop"] + metrics["finish"]["length"] == 50
    assert metrics["tokens"] == sum(line["tokens"] for line in predictions)

    work = json.loads((tmp_path / "work.json").read_text())
    assert (work["samples"], work["tokens"]) == (50, metrics["tokens"])
    parameters = json.loads((folder / "model" / "greenllm.json").read_text())["parameters"]
    passes = metrics["prompt_tokens"] + metrics["tokens"] - 50
    assert work["flops"] == pytest.approx(2 * parameters * passes, rel=0.05)


def test_predictions_are_in_the_order_of_the_test_split(folder, tmp_path):
    assert evaluate(folder, tmp_path) == 0
    _, predictions = read(tmp_path)
    expected = [{key: row[key] for key in ("id", "prompt", "completion")} for row in rows("test", 50)]
    assert [{key: line[key] for key in ("id", "prompt", "completion")} for line in predictions] == expected


def test_two_runs_write_the_same_bytes(folder, tmp_path):
    for name in ("first", "second"):
        assert evaluate(folder, tmp_path / name) == 0
    for file in ("metrics.json", "predictions.jsonl"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_python_gets_what_the_command_writes(folder, tmp_path):
    settings = Evaluation(bootstrap=200, max_tokens=4)
    task = TASKS["customer-service"]
    evaluated = evaluate_model(folder / "model", folder / "data", task, settings, seed=1, threads=1, device="cpu")
    assert evaluate(folder, tmp_path) == 0
    metrics, predictions = read(tmp_path)
    assert evaluated.report.model_dump() == {key: value for key, value in metrics.items() if key != "schema"}
    assert [line.model_dump() for line in evaluated.predictions] == predictions
    report = EvaluationReport.read(tmp_path / "metrics.json")
    assert report.metrics["accuracy"].value == metrics["metrics"]["accuracy"]["value"]


def test_answers_do_not_depend_on_the_batch(folder, tmp_path):
    assert evaluate(folder, tmp_path / "one", batch=1) == 0
    assert evaluate(folder, tmp_path / "many", batch=50) == 0
    (_, one), (_, many) = read(tmp_path / "one"), read(tmp_path / "many")
    assert [line["prediction"] for line in one] == [line["prediction"] for line in many]


def test_answers_below_the_threshold_are_handed_over(folder, tmp_path):
    assert evaluate(folder, tmp_path / "any") == 0
    threshold = statistics.median(line["confidence"] for line in read(tmp_path / "any")[1])
    assert evaluate(folder, tmp_path / "some", threshold=threshold) == 0
    metrics, predictions = read(tmp_path / "some")
    kept = [line for line in predictions if line["confidence"] >= threshold]
    assert 0 < len(kept) < len(predictions)
    hand_over = metrics["hand_over"]
    assert (hand_over["threshold"], hand_over["examples"]) == (threshold, len(kept))
    coverage, accuracy = hand_over["coverage"], hand_over["metrics"]["accuracy"]
    assert coverage["value"] == pytest.approx(len(kept) / len(predictions))
    assert coverage["low"] < coverage["value"] < coverage["high"]
    right = sum(line["prediction"] == line["completion"] for line in kept)
    assert accuracy["value"] == pytest.approx(right / len(kept))
    # Confident answers are right more often, which is the purpose of a threshold.
    assert accuracy["value"] > metrics["metrics"]["accuracy"]["value"]


def test_below_an_unreachable_threshold_every_answer_is_handed_over(folder, tmp_path):
    assert evaluate(folder, tmp_path, threshold=1) == 0
    hand_over = read(tmp_path)[0]["hand_over"]
    assert (hand_over["coverage"]["value"], hand_over["examples"], hand_over["metrics"]) == (0, 0, {})


def test_each_kind_of_example_has_its_own_metrics(folder, tmp_path):
    data = shutil.copytree(folder / "data", tmp_path / "data")
    table = pyarrow.parquet.read_table(data / "test.parquet")
    kinds = pyarrow.array(["seen", "new"] * 25)
    pyarrow.parquet.write_table(table.append_column("subset", kinds), data / "test.parquet")
    assert evaluate(folder, tmp_path, data=data) == 0
    metrics, predictions = read(tmp_path)
    assert set(metrics["subsets"]) == {"seen", "new"}
    for kind, quality in metrics["subsets"].items():
        lines = [line for line in predictions if line["subset"] == kind]
        right = sum(line["prediction"] == line["completion"] for line in lines)
        assert quality["examples"] == len(lines) == 25
        assert quality["metrics"]["accuracy"]["value"] == pytest.approx(right / 25)


def test_the_extracted_answer_is_scored_and_the_generated_text_kept(folder, tmp_path):
    assert evaluate(folder, tmp_path / "whole") == 0
    _, whole = read(tmp_path / "whole")
    steps = {"pattern": "[LE](.)"}
    assert evaluate(folder, tmp_path, extract=steps) == 0
    metrics, predictions = read(tmp_path)
    assert [line["generated"] for line in predictions] == [line["prediction"] for line in whole]
    answers = {"RED": "D", "BLUE": "U", "GREEN": "E", "WHITE": ""}
    known = [line for line in predictions if line["generated"] in answers]
    assert all(line["prediction"] == answers[line["generated"]] for line in known)
    assert known
    assert metrics["metrics"]["accuracy"]["value"] == 0
    missing = sum(not line["prediction"] for line in predictions)
    assert metrics["extraction"] == {"after": None, "first_line": False, **steps, "missing": missing}


def test_only_the_first_rows(folder, tmp_path):
    assert evaluate(folder, tmp_path, rows=7) == 0
    metrics, predictions = read(tmp_path)
    assert (metrics["examples"], len(predictions)) == (7, 7)


def test_the_quantised_model_is_evaluated_on_its_own_engine(folder, tmp_path):
    command = ["compress", "--recipe", "{quantize: int8}", "--from", str(folder / "model")]
    assert main([*command, "--out", str(tmp_path / "model")]) == 0
    assert evaluate(tmp_path, tmp_path, data=folder / "data") == 0
    metrics, _ = read(tmp_path)
    assert (metrics["engine"], metrics["precision"]) == ("onnxruntime-genai", "int8")


def test_what_cannot_be_evaluated_is_named(folder, tmp_path, capfd):
    def refused():
        assert evaluate(folder, tmp_path, data=data) == 2
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("greenllm evaluate: error: ")]
        assert len(lines) == 1
        return lines[0]

    data = tmp_path / "nowhere"
    assert "test.parquet: no such file" in refused()
    data = shutil.copytree(folder / "data", tmp_path / "data")
    table = pyarrow.parquet.read_table(data / "test.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), data / "test.parquet")
    assert "test.parquet: no rows to test on" in refused()
    long = table.slice(0, 2).set_column(1, "prompt", pyarrow.array(["red \n", "red " * 40 + "\n"]))
    pyarrow.parquet.write_table(long, data / "test.parquet")
    assert "row test-1: the prompt has 41 tokens, and the model's context of 32 tokens" in refused()
    assert not (tmp_path / "metrics.json").exists()


def test_sampled_answers_are_the_same_in_each_run_and_count_by_row(folder, tmp_path):
    sampling = {"temperature": 1.5, "top_p": 0.95, "draws": 3, "seed": 7}
    for out, batch in (("first", 32), ("second", 5)):
        (tmp_path / out).mkdir()
        assert evaluate(folder, tmp_path / out, rows=20, sampling=sampling, batch=batch) == 0
    metrics, predictions = read(tmp_path / "first")
    assert [line["prediction"] for line in predictions] == [line["prediction"] for line in read(tmp_path / "second")[1]]
    assert metrics["sampling"] == sampling
    assert (metrics["examples"], len(predictions)) == (20, 60)
    assert len({line["sampling"]["seed"] for line in predictions}) == 60
    by_row: dict[str, list[bool]] = {}
    for line in predictions:
        by_row.setdefault(line["id"], []).append(line["prediction"] == line["completion"])
    assert any(len(set(right)) == 2 for right in by_row.values())  # the draws of a row differ
    accuracy = metrics["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(statistics.mean(map(statistics.mean, by_row.values())))
    # Draws that are all alike say no more than one answer to each row: the interval is as wide.
    once = [predicted("a", "ab"[row % 2], id=str(row), draw=0) for row in range(20)]
    thrice = [line.model_copy(update={"draw": draw}) for line in once for draw in range(3)]
    task = TASKS["customer-service"]
    alike, alone = (scores_with_intervals(task, lines, 200, 0)["accuracy"] for lines in (thrice, once))
    assert alike == pytest.approx(alone)
    written = read_predictions(tmp_path / "first" / "predictions.jsonl", Prediction)
    same = paired_difference(task, "accuracy", [written], [written])
    assert same is not None
    assert (same.value, same.p_value) == (0, 1)
