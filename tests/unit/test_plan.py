"""The jobs that a configuration asks for, and where their results are."""

import re
from pathlib import Path

from greenllm.study import layout
from greenllm.study.models import Config
from greenllm.study.plan import Plan, python_of

PLAN = Plan(
    Config.model_validate(
        {
            "experiments": {
                "scratch": {
                    "task": "customer-service",
                    "data": {"source": "embedded"},
                    "train": {"epochs": 5, "batch": 16},
                    "recipes": ["tuned-int8"],
                    "seeds": [1, 2],
                },
                "ready": {
                    "task": "translation",
                    "data": {"source": "embedded"},
                    "model": {"init": "owner/name"},
                    "recipes": ["original", "int8", "tuned"],
                },
            },
            "recipes": {
                "original": {},
                "int8": {"from": "original", "quantize": "int8"},
                "baseline": {"train": {}},
                "tuned": {"from": "baseline", "train": {"epochs": 1}},
                "tuned-int8": {"from": "tuned", "quantize": "int8"},
            },
        }
    )
)


def test_parents_come_first_and_once():
    assert PLAN.recipes("scratch") == ["baseline", "tuned", "tuned-int8"]
    assert PLAN.recipes("ready") == ["original", "int8", "baseline", "tuned"]


def test_a_model_that_is_already_trained_enters_at_evaluate_or_compress():
    assert PLAN.model_folder("ready", "original", "1") == "<results>/models/ready/source"
    assert PLAN.parent_folder("ready", "int8", "1") == "<results>/models/ready/source"
    assert PLAN.model_folder("ready", "int8", "1") == "<results>/models/ready/int8/seed-1/model"


def test_training_starts_from_scratch_from_the_source_or_from_the_parent():
    assert PLAN.parent_folder("scratch", "baseline", "2") is None
    assert PLAN.parent_folder("ready", "baseline", "1") == "<results>/models/ready/source"
    assert PLAN.parent_folder("scratch", "tuned", "2") == "<results>/models/scratch/baseline/seed-2/model"


def test_the_recipes_settings_override_the_experiments_and_those_the_studys():
    training = PLAN.training("scratch", "tuned")
    assert (training.epochs, training.batch, training.optimizer) == (1, 16, "adamw")
    assert PLAN.training("ready", "baseline") == PLAN.config.train


def test_each_seed_of_each_recipe_is_compared():
    assert list(PLAN.compared())[:2] == [("scratch", "tuned-int8", 1), ("scratch", "tuned-int8", 2)]


def test_null_does_not_change_a_setting_but_turns_early_stopping_off():
    study = PLAN.config.model_dump(by_alias=True, exclude_unset=True)
    study["train"] = {"patience": 2, "epochs": 7}
    study["recipes"]["baseline"] = {"train": {"patience": None, "epochs": None}}
    training = Plan(Config.model_validate(study)).training("ready", "baseline")
    assert (training.patience, training.epochs) == (None, 7)


def test_a_recipe_whose_engine_runs_on_the_cpu_leases_no_gpu():
    assert PLAN.gpus("evaluate", "scratch", "tuned") == 1
    assert PLAN.gpus("evaluate", "scratch", "tuned-int8") == 0
    assert PLAN.gpus("collect", "scratch", None) == 0
    assert PLAN.device("tuned-int8") == "cpu"


def test_every_result_is_documented():
    lines = (Path(__file__).parents[2] / "results/README.md").read_text().splitlines()
    start = f"{layout.RESULTS}/"
    for pattern in filter(lambda value: isinstance(value, str) and value.startswith(start), vars(layout).values()):
        shown = re.sub(r"{(\w+)}", r"<\1>", pattern.removeprefix(start).replace("{seed}", "<n>"))
        folder, _, file = shown.rpartition("/")
        ending = file.removeprefix("seed-<n>")
        assert any(line.startswith(f"| `{folder}") and ending in line for line in lines), shown


def test_an_additional_environment_lies_where_make_installs_it():
    root = Path(__file__).parents[2]
    assert ".venv-tensorflow/installed:" in (root / "Makefile").read_text()
    assert python_of("tensorflow") == root / ".venv-tensorflow/bin/python"
