"""Tasks of lm-evaluation-harness on our engines: equal to its own `hf` model on the same weights."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_models import CONTEXT, TEXTS

from greenllm.checks.study import check_config
from greenllm.cli import main
from greenllm.config.read import ConfigError

CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
ROLLING = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{passage}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: bits_per_byte}}]
"""
GENERATED = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[gold]}}}}"
generation_kwargs: {{until: [".", "\\n\\n"], max_gen_toks: 12}}
metric_list: [{{metric: exact_match}}]
"""
TASK = ["--task", "harness"]
KINDS = {"own_choice": CHOICE, "own_rolling": ROLLING, "own_generated": GENERATED}
DOCUMENTS = 20


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task of each kind over one local file."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {
            "question": f"{number}: {TEXTS[number % len(TEXTS)]}",
            "choices": ["the card", "my PIN", "银行卡"],
            "gold": number % 3,
            "passage": " ".join(TEXTS * (1 + 3 * (number % 2))),
        }
        for number in range(DOCUMENTS)
    ]
    data = folder / "own.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in KINDS.items():
        (folder / f"{name}.yaml").write_text(text.format(name=name, data=data))
    return folder


@pytest.fixture(autouse=True, scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The harness without a network, and with a cache of its own."""
    pytest.importorskip("lm_eval", reason="harness: lm_eval is not installed (make harness)")
    with pytest.MonkeyPatch.context() as patch:
        import datasets

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        yield


@pytest.fixture(scope="module")
def samples(fp32: Path, tasks: Path) -> dict[str, dict[str, Any]]:
    """What both models reached, by model and task."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from greenllm.engines import load_engine
    from greenllm.harness.engine_model import EngineModel

    engine = load_engine(fp32, threads=1, device="cpu")
    ours, batched = (EngineModel(engine, fp32, batch=batch) for batch in (1, 8))
    # Sums in single precision, its default, would themselves be rounded by more than 1e-6.
    theirs = HFLM(pretrained=str(fp32), device="cpu", dtype="float32", softmax_dtype="float64", max_length=CONTEXT)
    return {
        name: simple_evaluate(
            model=model, tasks=list(KINDS), task_manager=TaskManager(include_path=str(tasks)), bootstrap_iters=0
        )["samples"]
        for name, model in (("ours", ours), ("batched", batched), ("theirs", theirs))
    }


# A batch with rows of other lengths is computed in another order, so single precision rounds it otherwise.
@pytest.mark.parametrize(("name", "absolute", "relative"), [("ours", 1e-6, 0.0), ("batched", 0.0, 1e-6)])
@pytest.mark.parametrize("task", KINDS)
def test_each_example_equals_that_of_the_hf_model(
    samples: dict[str, dict[str, Any]], task: str, name: str, absolute: float, relative: float
) -> None:
    ours, theirs = samples[name][task], samples["theirs"][task]
    assert len(ours) == len(theirs) == DOCUMENTS
    for own, other in zip(ours, theirs, strict=True):
        assert own["arguments"] == other["arguments"]
        for (given,), (expected,) in zip(own["resps"], other["resps"], strict=True):
            if task != "own_generated":
                expected = pytest.approx(expected, abs=absolute, rel=relative)
            assert given == expected
    if task == "own_generated":
        assert any(own["resps"][0][0] for own in ours)


def data_of(tasks: Path, *names: str, **keys: object) -> str:
    return json.dumps({"source": "harness", "tasks": list(names), "include_path": str(tasks), **keys})


def prepare(folder: Path, model: Path, data: str) -> int:
    collect = ["collect", *TASK, "--settings", data, "--out", str(folder / "collected")]
    if (status := main(collect)) != 0:
        return status
    preprocess = ["preprocess", *TASK, "--settings", "{}", "--model", str(model)]
    return main([*preprocess, "--data", str(folder / "collected"), "--out", str(folder / "data")])


def evaluate(folder: Path, model: Path, **settings: object) -> int:
    command = ["evaluate", *TASK, "--settings", json.dumps({"max_tokens": 4, "bootstrap": 100, "batch": 8} | settings)]
    command += ["--model", str(model), "--data", str(folder / "data"), "--device", "cpu"]
    return main([*command, "--out", str(folder / "metrics.json"), "--predictions", str(folder / "predictions.jsonl")])


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((folder / "metrics.json").read_text()), [json.loads(line) for line in lines]


def test_an_experiment_has_the_harness_figures_and_each_example(tmp_path: Path, model: Path, tasks: Path) -> None:
    assert prepare(tmp_path, model, data_of(tasks, *KINDS, num_fewshot=0)) == 0
    assert evaluate(tmp_path, model) == 0
    report, lines = read(tmp_path)
    assert report["examples"] == len(lines) == 3 * DOCUMENTS
    assert set(report["harness"]) == set(report["subsets"]) == set(KINDS)
    by_task = {name: [line for line in lines if line["subset"] == name] for name in KINDS}
    for name, metric in (("own_choice", "acc"), ("own_choice", "acc_norm"), ("own_generated", "exact_match")):
        found = report["subsets"][name]["metrics"][metric]["value"]
        assert found == pytest.approx(report["harness"][name][metric])
        assert found == pytest.approx(sum(line["metrics"][metric] for line in by_task[name]) / DOCUMENTS)
    for line in by_task["own_rolling"]:
        assert line["score"] == -line["metrics"]["bits_per_byte"] < 0
        assert line["chance"] == -8
    assert all(line["chance"] == pytest.approx(1 / 3) for line in by_task["own_choice"])
    score = report["metrics"]["score"]
    assert report["primary"] == "score"
    assert score["value"] == pytest.approx(sum(line["score"] for line in lines) / len(lines))
    assert score["low"] < score["value"] < score["high"]
    assert all(line["tokens"] == 4 for line in lines)  # deploy compares the answers


def test_a_part_of_the_examples_and_a_metric_of_ones_own(tmp_path: Path, fp32: Path, tasks: Path) -> None:
    assert prepare(tmp_path, fp32, data_of(tasks, "own_choice", limit=10, metric="acc_norm")) == 0
    assert evaluate(tmp_path, fp32, rows=6) == 0
    report, lines = read(tmp_path)
    assert len(lines) == 6
    assert all(line["score"] == line["metrics"]["acc_norm"] for line in lines)
    assert report["harness"]["own_choice"]["acc_norm"] == pytest.approx(report["metrics"]["score"]["value"])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"tasks": ["own_choise"]}, "lm_eval has no task 'own_choise'; did you mean 'own_choice'?"),
        ({"tasks": ["own_remote"]}, "own_remote: its data can't be loaded"),
        ({"tasks": ["own_choice"], "include_path": "nowhere"}, "no folder"),
    ],
)
def test_what_the_harness_cannot_load_is_one_line(
    tmp_path: Path, fp32: Path, tasks: Path, capfd: pytest.CaptureFixture[str], keys: dict[str, object], said: str
) -> None:
    remote = CHOICE.format(name="own_remote", data="x").replace("dataset_path: json", "dataset_path: nobody/nowhere")
    (tasks / "own_remote.yaml").write_text(re.sub("dataset_kwargs.*\n", "", remote))
    assert prepare(tmp_path, fp32, json.dumps(json.loads(data_of(tasks)) | keys)) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("greenllm")]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_metric_that_a_task_lacks_is_named(
    tmp_path: Path, fp32: Path, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(tmp_path, fp32, data_of(tasks, "own_choice", metric="f1")) == 0
    assert evaluate(tmp_path, fp32) == 2
    assert "data.metric: f1: own_choice has no such metric" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"source": "embedded"}}, "data.source: harness is for the task harness alone"),
        ({"recipes": ["trained"]}, "'trained' trains, and harness tasks have no rows to train on"),
        ({"data": {"source": "harness", "tasks": ["no_such_task_here"]}}, "data.tasks: lm_eval has no task"),
    ],
)
def test_a_study_is_checked_before_anything_runs(fp32: Path, tasks: Path, change: dict[str, object], said: str) -> None:
    data = {"source": "harness", "tasks": ["own_choice"], "include_path": str(tasks)}
    experiment = {"task": "harness", "data": data, "model": {"init": str(fp32)}, "recipes": ["original"]}
    recipes: dict[str, object] = {"original": {}, "trained": {"train": {}}}
    check_config({"experiments": {"one": experiment}, "recipes": recipes}, "study.yaml")
    with pytest.raises(ConfigError) as caught:
        check_config({"experiments": {"one": experiment | change}, "recipes": recipes}, "study.yaml")
    assert said in str(caught.value)
