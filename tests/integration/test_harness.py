"""Tasks of lm-evaluation-harness on our engines: equal to its own `hf` model on the same weights."""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_models import CONTEXT, TEXTS, without_finite_weights

from greenllm.checks.study import check_config
from greenllm.cli import main
from greenllm.config.models import HarnessData
from greenllm.config.read import ConfigError
from greenllm.data.local_files import data_state

HEAD = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
"""
CHOICE = """
output_type: multiple_choice
doc_to_text: "{{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
SENTENCES = """
output_type: multiple_choice
doc_to_text: ""
doc_to_choice: "{{[question, question + ' and so it is']}}"
doc_to_target: 0
metric_list: [{metric: acc}, {metric: acc_mutual_info}]
"""
LAST_WORD = """
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: "{{' ' + choices[gold]}}"
metric_list: [{metric: perplexity}, {metric: acc}]
"""
ROLLING = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{passage}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
GENERATED = """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[gold]}}"
generation_kwargs: {until: [".", "\\n\\n"], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
"""
SAMPLED = GENERATED.replace("12}", "12, do_sample: true, temperature: 1.0}") + "repeats: 3\n"
BEAMS = GENERATED.replace("12}", "12, num_beams: 4}")
LOWER = GENERATED.replace("{metric: exact_match}", "{metric: exact_match, higher_is_better: false}")
COLD = GENERATED.replace("12}", "12, do_sample: true, temperature: -1}")
TASK = ["--task", "harness"]
COMPARED = ("own_choice", "own_rolling", "own_generated")
KINDS = {
    "own_choice": CHOICE,
    "own_rolling": ROLLING,
    "own_generated": GENERATED,
    "own_sentences": SENTENCES,
    "own_last_word": LAST_WORD,
    "own_sampled": SAMPLED,
    "own_beams": BEAMS,
    "own_cold": COLD,
    "own_lower": LOWER,
}
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
        (folder / f"{name}.yaml").write_text(HEAD.format(name=name, data=data) + text)
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
        datasets.disable_progress_bars()
        yield
        datasets.enable_progress_bars()


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
    theirs = HFLM(pretrained=str(fp32), device="cpu", dtype="float32", softmax_dtype="float64")
    assert theirs.max_length == CONTEXT
    return {
        name: simple_evaluate(
            model=model, tasks=list(COMPARED), task_manager=TaskManager(include_path=str(tasks)), bootstrap_iters=0
        )["samples"]
        for name, model in (("ours", ours), ("batched", batched), ("theirs", theirs))
    }


# A batch with rows of other lengths is computed in another order, so single precision rounds it otherwise.
@pytest.mark.parametrize(("name", "absolute", "relative"), [("ours", 1e-6, 0.0), ("batched", 0.0, 1e-6)])
@pytest.mark.parametrize("task", COMPARED)
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


def test_each_copy_of_a_sampled_request_is_another_sample(fp32: Path, tasks: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from greenllm.engines import load_engine
    from greenllm.harness.engine_model import EngineModel

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    model = EngineModel(load_engine(fp32, threads=1, device="cpu"), fp32, batch=8)
    first, second = (
        [
            sample["resps"][0]
            for sample in simple_evaluate(model=model, tasks=["own_sampled"], task_manager=manager, limit=4)["samples"][
                "own_sampled"
            ]
        ]
        for _ in range(2)
    )
    assert first == second
    assert all(len({*answers}) > 1 for answers in first)


def data_of(tasks: Path, *names: str, **keys: object) -> str:
    return json.dumps({"source": "harness", "tasks": list(names), "include_path": str(tasks), **keys})


def prepare(folder: Path, model: Path, data: str, *more: str) -> int:
    collect = ["collect", *TASK, "--settings", data, "--out", str(folder / "collected")]
    if (status := main(collect)) != 0:
        return status
    preprocess = ["preprocess", *TASK, "--settings", "{}", "--model", str(model)]
    return main([*preprocess, "--data", str(folder / "collected"), "--out", str(folder / "data"), *more])


def test_the_card_has_the_hashes_of_the_users_task_files(tasks: Path, tmp_path: Path) -> None:
    assert main(["collect", *TASK, "--settings", data_of(tasks, "own_choice"), "--out", str(tmp_path / "out")]) == 0
    named = json.loads((tmp_path / "out/card.json").read_text())["task_files"]
    assert "own_choice.yaml" in named
    for name, found in named.items():
        assert found == hashlib.sha256((tasks / name).read_bytes()).hexdigest()


def test_a_changed_task_file_is_another_state_of_the_data(tasks: Path, tmp_path: Path) -> None:
    data = HarnessData(source="harness", tasks=["own_choice"], include_path=tasks.name)
    before = data_state(data, tasks.parent)
    (tasks / "notes.txt").write_text("no task")
    assert data_state(data, tasks.parent) == before
    (tasks / "more.yaml").write_text("task: more\n")
    assert data_state(data, tasks.parent) != before


def evaluate(folder: Path, model: Path, **settings: object) -> int:
    command = ["evaluate", *TASK, "--settings", json.dumps({"max_tokens": 4, "bootstrap": 100, "batch": 8} | settings)]
    command += ["--model", str(model), "--data", str(folder / "data"), "--device", "cpu"]
    return main([*command, "--out", str(folder / "metrics.json"), "--predictions", str(folder / "predictions.jsonl")])


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((folder / "metrics.json").read_text()), [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("names", "primary", "chance"),
    [
        (("own_choice", "own_last_word"), "acc", {"own_choice": 1 / 3, "own_last_word": 0}),
        (("own_sentences",), "acc", {"own_sentences": 1 / 2}),
        (("own_rolling",), "bits_per_byte", {"own_rolling": -8}),
        (("own_generated",), "exact_match", {"own_generated": 0}),
        (("own_lower",), "exact_match", {"own_lower": None}),
    ],
)
def test_an_experiment_has_the_harness_figures_and_each_example(
    tmp_path: Path, fp32: Path, tasks: Path, names: tuple[str, ...], primary: str, chance: dict[str, float | None]
) -> None:
    assert prepare(tmp_path, fp32, data_of(tasks, *names, num_fewshot=0)) == 0
    assert evaluate(tmp_path, fp32) == 0
    report, lines = read(tmp_path)
    assert report["examples"] == len(lines) == len(names) * DOCUMENTS
    assert set(report["harness"]) == set(names)
    for name in names:
        of_task = [line for line in lines if line["subset"] == name]
        assert all(line["chance"] == pytest.approx(chance[name]) for line in of_task)
        assert all("perplexity" not in line["metrics"] for line in of_task)  # of one document it is log p
        sign = -1 if name in ("own_rolling", "own_lower") else 1
        assert all(line["score"] == sign * line["metrics"][primary] for line in of_task)
        if primary != "bits_per_byte":
            found = sum(line["metrics"][primary] for line in of_task) / DOCUMENTS
            assert found == pytest.approx(report["harness"][name][primary])
    score = report["metrics"]["score"]
    assert report["primary"] == "score"
    assert score["value"] == pytest.approx(sum(line["score"] for line in lines) / len(lines))
    assert score["low"] <= score["value"] <= score["high"]
    assert all(line["tokens"] == 4 and line["prompt"] for line in lines)  # deploy compares the answers


def test_a_part_of_the_examples_and_a_metric_of_ones_own(tmp_path: Path, fp32: Path, tasks: Path) -> None:
    assert prepare(tmp_path, fp32, data_of(tasks, "own_choice", limit=10, metric="acc_norm")) == 0
    assert evaluate(tmp_path, fp32, rows=6) == 0
    report, lines = read(tmp_path)
    assert len(lines) == 6
    assert all(line["score"] == line["metrics"]["acc_norm"] for line in lines)
    assert report["harness"]["own_choice"]["acc_norm"] == pytest.approx(report["metrics"]["score"]["value"])


def test_solved_examples_beyond_the_context_are_cut(
    tmp_path: Path, fp32: Path, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = data_of(tasks, "own_choice", limit=4, num_fewshot=10)
    assert prepare(tmp_path, fp32, data, "--context", "model") == 0
    assert "4 of 4 contexts leave no room" in capfd.readouterr().err
    assert evaluate(tmp_path, fp32) == 0
    _, lines = read(tmp_path)
    assert all(line["prompt"].endswith("Answer:") and line["prompt_tokens"] < CONTEXT for line in lines)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"tasks": ["own_choise"]}, "lm_eval has no task 'own_choise'; did you mean 'own_choice'?"),
        ({"tasks": ["own_remote"]}, "own_remote: its data can't be loaded"),
        ({"tasks": ["own_choice"], "include_path": "nowhere"}, "no folder"),
        ({"tasks": ["own_choice"], "metric": "f1"}, "data.metric: f1: own_choice has no such metric"),
        ({"tasks": ["own_last_word"], "metric": "perplexity"}, "expected one of acc"),
        ({"tasks": ["own_beams"]}, "data.tasks: own_beams: generation_kwargs: num_beams: the engines do not have it"),
        ({"tasks": ["own_cold"]}, "own_cold: generation_kwargs: do_sample with temperature -1 and top_p 1; expected"),
        (
            {"tasks": ["own_choice", "own_rolling"]},
            "data.metric: the tasks' first metrics differ (acc of own_choice, bits_per_byte of own_rolling)",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line_before_anything_is_computed(
    tmp_path: Path,
    fp32: Path,
    tasks: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, object],
    said: str,
) -> None:
    import datasets

    # Not told that there is no network: it finds out.
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    remote = HEAD.format(name="own_remote", data="x").replace("dataset_path: json", "dataset_path: nobody/nowhere")
    (tasks / "own_remote.yaml").write_text(re.sub("dataset_kwargs.*\n", "", remote) + CHOICE)
    assert prepare(tmp_path, fp32, json.dumps(json.loads(data_of(tasks)) | keys)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("greenllm")
    assert said in line


def test_a_model_without_finite_likelihoods_has_no_figure(
    tmp_path: Path, fp32: Path, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = without_finite_weights(fp32, tmp_path / "broken")
    assert prepare(tmp_path, broken, data_of(tasks, "own_choice", limit=2)) == 0
    assert evaluate(tmp_path, broken) == 2
    assert "likelihood is not finite for 6 of 6 requests of the harness" in capfd.readouterr().err


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
