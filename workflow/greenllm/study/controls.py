"""Controls: where a recipe changes engine and numerics at once, another recipe changes the engine alone.

Both are compared with the baseline, so that a saving is credited to its cause. A control is a recipe like any other:
it is made, evaluated, measured, compared and recommended.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from greenllm.config.models import Deployment, Experiment
from greenllm.config.read import ConfigError
from greenllm.config.section import overridden
from greenllm.model_folder.addresses import is_endpoint
from greenllm.recipes.exported import Export
from greenllm.study.layout import SOURCE

if TYPE_CHECKING:
    from greenllm.study.models import Recipe


def engine_alone(recipe: "Recipe") -> Export | None:
    """Return the step that only moves a model to the recipe's engine; None if that is transformers."""
    return recipe.step.engine_alone() if recipe.step else None


def moved_among(names: Iterable[str], model: str | None, step: Export, recipes: "Mapping[str, Recipe]") -> str | None:
    """Return the first of `names` whose recipe moves a recipe's model to another engine by `step`, and does no more.

    `model` None is the model that the experiment starts from.
    """
    made = ((name, recipes[name]) for name in names if name in recipes)
    start = _model(model, recipes)
    return next((name for name, one in made if one.step == step and _model(one.parent, recipes) == start), None)


def control_among(names: Iterable[str], recipe: str, recipes: "Mapping[str, Recipe]") -> str | None:
    """Return the first of `names` that is the control of a recipe: the same parent's model on the same engine."""
    chosen = recipes[recipe]
    alone = engine_alone(chosen)
    if alone is None or chosen.step == alone:
        return None
    return moved_among(names, chosen.parent, alone, recipes)


def with_controls(
    experiments: Mapping[str, Experiment], recipes: "Mapping[str, Recipe]", deploy: Deployment
) -> "tuple[dict[str, Experiment], dict[str, Recipe]]":
    """Return the experiments and recipes of a study with the controls that they lack, just before the first in need.

    A recipe on the baseline's engine needs none. `deploy.controls: false` adds none. Raises ConfigError with a line for
    each control whose name another recipe has.
    """
    completed, known = dict(experiments), dict(recipes)
    problems: dict[str, str] = {}
    for name, experiment in experiments.items():
        compared = list(experiment.recipes)
        wanted = overridden(deploy, experiment.deploy).controls
        for recipe in experiment.recipes if wanted else ():
            alone = _engine_to_control(recipe, experiment, known)
            if alone is None or control_among(compared, recipe, known):
                continue
            parent = known[recipe].parent
            existing = control_among(known, recipe, known)
            control = existing or f"{parent or SOURCE}-{alone.engine}"
            if existing is None and control in known:
                problems.setdefault(control, _name_taken(control, name, recipe, _written(parent, alone)))
                continue
            if existing is None:
                made = type(known[recipe])(parent=parent, **{alone.key: alone})
                known = _with_one_before(recipe, known, control, made)
            compared.insert(compared.index(recipe), control)
        completed[name] = experiment.model_copy(update={"recipes": compared})
    if problems:
        raise ConfigError(list(problems.values()))
    return completed, known


def _model(recipe: str | None, recipes: "Mapping[str, Recipe]") -> str | None:
    """Return the recipe that makes a recipe's model; None for the experiment's model, also taken unchanged."""
    return None if recipe is None or (recipe in recipes and recipes[recipe].step is None) else recipe


def _engine_to_control(name: str, experiment: Experiment, recipes: "Mapping[str, Recipe]") -> Export | None:
    """Return the step of the control that a recipe needs: it changes the baseline's engine, and more than that.

    The configuration is not checked yet: what can't be made gets no control, and the check reports it once.
    """
    if name not in recipes or experiment.baseline not in recipes:
        return None
    recipe = recipes[name]
    alone = engine_alone(recipe)
    if alone == recipe.step or alone == engine_alone(recipes[experiment.baseline]):
        return None
    before, init = _model(recipe.parent, recipes), experiment.model.init
    if before is None:
        return alone if init != "scratch" and not is_endpoint(init) else None
    step = recipes[before].step if before in recipes else None
    return alone if step is not None and not step.final else None


def _with_one_before(place: str, recipes: "Mapping[str, Recipe]", name: str, recipe: "Recipe") -> "dict[str, Recipe]":
    """Return the recipes with another one just before `place`."""
    found: dict[str, Recipe] = {}
    for key, value in recipes.items():
        found |= ({name: recipe} if key == place else {}) | {key: value}
    return found


def _written(parent: str | None, alone: Export) -> str:
    """Return a control as a user writes it."""
    return f"{{{f'from: {parent}, ' if parent else ''}{alone.key}: {alone.engine}}}"


def _name_taken(control: str, experiment: str, recipe: str, written: str) -> str:
    return (
        f"recipes.{control}: {recipe!r} in experiments.{experiment} needs the control {written} of this name; rename "
        "this recipe, or write the control under another name, or set deploy.controls: false"
    )
