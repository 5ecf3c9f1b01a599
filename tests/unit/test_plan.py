"""The jobs that a configuration asks for, and where their results are."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

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


RECIPES: dict[str, Any] = {
    "original": {},
    "baseline": {"train": {}},
    "int8": {"from": "baseline", "quantize": "int8"},
    "int4": {"from": "baseline", "quantize": "int4"},
    "sparse": {"from": "baseline", "sparsify": {"share": 0.5}},
    "pruned": {"from": "baseline", "prune": {"structured": 0.5}},
    "pruned-int8": {"from": "pruned", "quantize": "int8"},
    "source-int8": {"quantize": "int8"},
    "torchao": {"from": "baseline", "quantize": {"format": "int8", "library": "torchao"}},
}


def plan_of(
    *compared: str,
    recipes: dict[str, Any] | None = None,
    init: str = "scratch",
    device: str = "auto",
    **experiment: Any,
) -> Plan:
    """Return the plan of one experiment, named one, that compares recipes."""
    settings = {"task": "customer-service", "data": {"source": "embedded"}, "model": {"init": init}, **experiment}
    values = {
        "device": device,
        "experiments": {"one": {**settings, "recipes": list(compared)}},
        "recipes": {**RECIPES, **(recipes or {})},
    }
    return Plan(Config.model_validate(values))


def path_of(plan: Plan, recipe: str) -> list[str]:
    """Return the path to a recipe, each recipe after the baseline with what it changes.

    As measured where GPUs compute if the study requires one.
    """
    first, *_ = path = plan.path("one", recipe)
    gpus = {one: plan.gpus("measure", "one", one) if plan.config.device == "require" else 0 for one in path}
    return [
        first,
        *(
            f"{after}: {plan.changes(before, after, device=gpus[before] != gpus[after])}"
            for before, after in itertools.pairwise(path)
        ),
    ]


def test_a_recipe_that_changes_engine_and_numerics_is_preceded_by_the_engine_alone():
    plan = plan_of("baseline", "sparse", "int8", "int4", "torchao")
    control = "baseline-onnxruntime"
    assert plan.experiment("one").recipes == ["baseline", "sparse", control, "int8", "int4", "torchao"]
    assert plan.recipe(control).model_dump(by_alias=True, exclude_none=True) == {
        "from": "baseline",
        "export": {"engine": "onnxruntime", "precision": "fp32"},
    }
    assert [plan.control("one", recipe) for recipe in plan.experiment("one").recipes] == [
        None, None, None, control, control, None,
    ]  # fmt: skip
    assert ("one", control, 1) in plan.compared()
    assert control in plan.made_by("compress")
    assert (plan.device(control), plan.gpus("compress", "one", control)) == ("cpu", 0)


def test_a_path_has_a_step_for_each_cause():
    plan = plan_of("baseline", "sparse", "int8", "pruned-int8", "torchao")
    assert path_of(plan, "baseline") == ["baseline"]
    assert path_of(plan, "baseline-onnxruntime") == ["baseline", "baseline-onnxruntime: engine"]
    assert path_of(plan, "int8") == ["baseline", "baseline-onnxruntime: engine", "int8: int8"]
    assert path_of(plan, "sparse") == ["baseline", "sparse: sparse"]
    assert path_of(plan, "torchao") == ["baseline", "torchao: int8"]
    assert path_of(plan, "pruned-int8") == [
        "baseline", "baseline-onnxruntime: engine", "pruned-onnxruntime: pruned", "pruned-int8: int8",
    ]  # fmt: skip


def test_a_path_passes_through_compared_ancestors():
    plan = plan_of("baseline", "pruned", "pruned-int8")
    moved = "pruned-onnxruntime"
    assert plan.experiment("one").recipes == ["baseline", "pruned", moved, "pruned-int8"]
    assert path_of(plan, "pruned-int8") == ["baseline", "pruned: pruned", f"{moved}: engine", "pruned-int8: int8"]
    assert path_of(plan, moved) == ["baseline", "pruned: pruned", f"{moved}: engine"]


def test_a_step_that_changes_several_things_names_them_all():
    alone = plan_of("baseline", "pruned-int8")
    assert path_of(alone, "pruned-int8") == ["baseline", "pruned-onnxruntime: engine and pruned", "pruned-int8: int8"]
    without = plan_of("baseline", "int8", deploy={"controls": False})
    assert path_of(without, "int8") == ["baseline", "int8: engine and int8"]
    assert without.changes("baseline", "int8", device=True) == "engine, device and int8"


def test_the_models_before_the_baseline_are_not_on_the_path_from_it():
    recipes = {"tuned": {"from": "baseline", "train": {}}, "tuned-int8": {"from": "tuned", "quantize": "int8"}}
    plan = plan_of("tuned", "pruned", "tuned-int8", recipes=recipes)
    assert path_of(plan, "tuned") == ["tuned"]
    assert path_of(plan, "pruned") == ["tuned", "pruned: pruned"]
    assert path_of(plan, "tuned-int8") == ["tuned", "tuned-onnxruntime: engine", "tuned-int8: int8"]


def test_a_baseline_with_more_changes_than_the_recipe_is_named_by_the_recipe():
    recipes = {"tuned": {"train": {}}, "original-int8": {"from": "original", "quantize": "int8"}}
    plan = plan_of("tuned", "original", "original-int8", recipes=recipes, init="owner/name")
    assert path_of(plan, "original-int8") == [
        "tuned", "original: original", "original-onnxruntime: engine", "original-int8: int8",
    ]  # fmt: skip
    plan = plan_of("tuned", "original-int8", recipes=recipes, init="owner/name")
    assert path_of(plan, "original-int8")[1] == "original-onnxruntime: engine and original"


def test_a_recipe_without_parent_gets_a_control_from_the_experiments_model():
    plan = plan_of("original", "source-int8", init="owner/name")
    assert plan.experiment("one").recipes == ["original", "source-onnxruntime", "source-int8"]
    assert plan.parent_folder("one", "source-onnxruntime", "1") == "<results>/models/one/source"
    assert path_of(plan, "source-int8") == ["original", "source-onnxruntime: engine", "source-int8: int8"]


def test_one_control_serves_all_recipes_of_the_same_model():
    recipes = {"original-int4": {"from": "original", "quantize": "int4"}}
    plan = plan_of("original", "source-int8", "original-int4", recipes=recipes, init="owner/name")
    assert plan.experiment("one").recipes == ["original", "source-onnxruntime", "source-int8", "original-int4"]
    assert plan.control("one", "original-int4") == "source-onnxruntime"


@pytest.mark.parametrize("compared", [("baseline", "int8", "moved"), ("baseline", "moved", "int8")])
def test_the_users_own_export_is_the_control(compared):
    recipes = {"moved": {"from": "baseline", "export": "onnxruntime"}}
    plan = plan_of(*compared, recipes=recipes)
    assert plan.experiment("one").recipes == list(compared)
    assert plan.config.recipes.keys() == {**RECIPES, **recipes}.keys()
    assert path_of(plan, "int8") == ["baseline", "moved: engine", "int8: int8"]


def test_the_users_own_export_is_compared_even_where_it_is_not_listed():
    plan = plan_of("baseline", "int8", recipes={"moved": {"from": "baseline", "export": "onnxruntime"}})
    assert plan.experiment("one").recipes == ["baseline", "moved", "int8"]


@pytest.mark.parametrize(
    ("compared", "recipe", "path"),
    [
        (("int8", "int4"), "int4", ["int8", "int4: int4"]),
        (("int8", "sparse"), "sparse", ["int8", "sparse: engine and sparse"]),
        (("int8",), "int8", ["int8"]),
        (("moved", "pruned", "pruned-int8"), "pruned-int8", ["moved", "pruned-int8: pruned and int8"]),
    ],
)
def test_on_the_baselines_engine_no_control_is_needed(compared, recipe, path):
    plan = plan_of(*compared, recipes={"moved": {"from": "baseline", "export": "onnxruntime"}})
    assert plan.experiment("one").recipes == list(compared)
    assert path_of(plan, recipe) == path


def test_a_study_with_its_controls_is_read_back_unchanged():
    config = plan_of("baseline", "pruned", "int8", "pruned-int8").config
    assert Config.model_validate_json(config.model_dump_json(by_alias=True)) == config


def test_where_gpus_compute_the_device_is_a_step_of_its_own():
    plan = plan_of("baseline", "sparse", "int8", "torchao", device="require")
    alone, moved = "baseline-cpu", "baseline-onnxruntime"
    assert plan.experiment("one").recipes == ["baseline", "sparse", alone, moved, "int8", "torchao"]
    assert plan.recipe(alone).model_dump(by_alias=True, exclude_none=True) == {
        "from": "baseline",
        "device": {"use": "cpu"},
    }
    assert path_of(plan, alone) == ["baseline", f"{alone}: device"]
    assert path_of(plan, moved) == ["baseline", f"{alone}: device", f"{moved}: engine"]
    assert path_of(plan, "int8") == ["baseline", f"{alone}: device", f"{moved}: engine", "int8: int8"]
    assert path_of(plan, "sparse") == ["baseline", "sparse: sparse"]
    assert path_of(plan, "torchao") == ["baseline", "torchao: int8"]
    controls = [one for one in plan.experiment("one").recipes if plan.is_control("one", one)]
    assert controls == [alone, moved]


def test_a_control_on_the_cpu_leases_no_gpu_and_is_evaluated_there():
    plan = plan_of("baseline", "int8", device="require")
    assert (plan.device("baseline"), plan.device("baseline-cpu")) == ("require", "cpu")
    for stage in ("compress", "evaluate", "measure"):
        assert plan.gpus(stage, "one", "baseline-cpu") == 0
    assert plan.gpus("measure", "one", None) == 1
    assert ("one", "baseline-cpu", 1) in plan.compared()
    assert "baseline-cpu" in plan.made_by("compress")


def test_the_device_is_changed_alone_just_before_the_engine():
    plan = plan_of("baseline", "pruned", "pruned-int8", device="require")
    assert plan.experiment("one").recipes == [
        "baseline", "pruned", "pruned-cpu", "pruned-onnxruntime", "pruned-int8",
    ]  # fmt: skip
    assert path_of(plan, "pruned-int8") == [
        "baseline", "pruned: pruned", "pruned-cpu: device", "pruned-onnxruntime: engine", "pruned-int8: int8",
    ]  # fmt: skip
    plan = plan_of("baseline", "pruned-int8", device="require")
    assert path_of(plan, "pruned-int8") == [
        "baseline", "baseline-cpu: device", "pruned-onnxruntime: engine and pruned", "pruned-int8: int8",
    ]  # fmt: skip


def test_a_model_taken_unchanged_has_a_control_on_the_cpu():
    plan = plan_of("original", "source-int8", init="owner/name", device="require")
    assert plan.experiment("one").recipes == ["original", "original-cpu", "source-onnxruntime", "source-int8"]
    assert plan.parent_folder("one", "original-cpu", "1") == "<results>/models/one/source"
    assert path_of(plan, "source-int8")[1:3] == ["original-cpu: device", "source-onnxruntime: engine"]


def test_the_users_own_recipe_on_the_cpu_is_the_control():
    recipes = {"slow": {"from": "baseline", "device": "cpu"}}
    for compared in (("baseline", "int8", "slow"), ("baseline", "slow", "int8")):
        plan = plan_of(*compared, recipes=recipes, device="require", deploy={"controls": False})
        assert plan.experiment("one").recipes == list(compared)
        assert path_of(plan, "int8") == ["baseline", "slow: device", "int8: engine and int8"]
    assert plan_of("baseline", "int8", recipes=recipes, device="require").experiment("one").recipes == [
        "baseline", "slow", "baseline-onnxruntime", "int8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("compared", "settings"),
    [
        (("baseline", "int8"), {"device": "auto"}),  # whether there is a GPU is known on the host alone
        (("baseline", "int8"), {"device": "cpu"}),
        (("baseline", "int8"), {"device": "require", "deploy": {"server": "other {model} {port}"}}),
        (("int8", "sparse"), {"device": "require"}),  # the baseline runs on the CPU
        (("torchao", "int8"), {"device": "require"}),  # a quantised model can't be moved
        (("baseline", "sparse", "torchao"), {"device": "require"}),
    ],
)
def test_no_control_on_the_cpu_is_added_where_it_would_show_nothing(compared, settings):
    plan = plan_of(*compared, **settings)
    assert not any(recipe.endswith("-cpu") for recipe in plan.config.recipes)
    if settings["device"] != "auto" or "int8" not in compared:
        assert plan.config.on_gpu().recipes.keys() == plan.config.recipes.keys()


def test_with_auto_the_controls_are_added_where_a_gpu_is_found():
    config = plan_of("baseline", "int8").config
    on_gpu = config.on_gpu()
    assert on_gpu.experiments["one"].recipes == ["baseline", "baseline-cpu", "baseline-onnxruntime", "int8"]
    assert Config.model_validate_json(on_gpu.model_dump_json(by_alias=True)) == on_gpu
    none = config.model_copy(
        update={"resources": config.resources.model_copy(update={"measure": config.resources.deploy})}
    )
    assert none.on_gpu() == none, "measure asks for no GPU"


def test_controls_are_turned_off_for_a_study_or_an_experiment():
    values = plan_of("baseline", "int8").config.model_dump(by_alias=True, exclude_unset=True)
    del values["recipes"]["baseline-onnxruntime"]
    values["experiments"]["one"]["recipes"] = ["baseline", "int8"]
    values["deploy"] = {"controls": False}
    values["experiments"]["two"] = {**values["experiments"]["one"], "deploy": {"controls": True}}
    config = Config.model_validate(values)
    assert config.experiments["one"].recipes == ["baseline", "int8"]
    assert config.experiments["two"].recipes == ["baseline", "baseline-onnxruntime", "int8"]


def test_parents_come_first_and_once():
    assert PLAN.recipes("scratch") == ["baseline", "tuned", "tuned-int8"]
    assert PLAN.recipes("ready") == ["original", "original-onnxruntime", "int8", "baseline", "tuned"]


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
