"""Checks of recipes: what each does, what it starts from, whether that can be done."""

from collections.abc import Mapping, Sequence

from greenllm.config.models import Needs
from greenllm.config.read import nearest
from greenllm.errors import UserError
from greenllm.recipes.distilled import Distill
from greenllm.study.layout import SOURCE
from greenllm.study.models import Config, Recipe
from greenllm.study.plan import Plan
from greenllm.training.parallel import require_divisible


def recipe_problems(config: Config) -> list[str]:
    """Return what is wrong with each recipe and with the chain before it: a key and a problem each."""
    problems = []
    for name, recipe in config.recipes.items():
        if name == SOURCE:
            problems.append(
                f"recipes.{name}: the workflow uses this name itself, for the model that an experiment starts from; "
                "choose another"
            )
        for key, parents in _needed(recipe).items():
            for parent in parents:
                if parent not in config.recipes:
                    others = [other for other in config.recipes if other != name]
                    problems.append(f"recipes.{name}.{key}: no recipe {parent!r}{nearest(parent, others)}")
        if cycle := _cycle(name, config.recipes):
            problems.append(
                f"recipes.{name}.from: a cycle of parents ({' → '.join(cycle)}); one must start without `from`"
            )
        problems.extend(f"recipes.{name}{problem}" for problem in _steps(recipe, config.recipes))
    return problems


def _steps(recipe: Recipe, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return what is wrong with what a recipe does, each beginning behind the recipe's name."""
    problems = []
    keys = [step.key for step in recipe.steps]
    if len(keys) > 1:
        problems.append(f": {' and '.join(keys)} in one recipe; give each a recipe of its own, with `from`")
    step = recipe.step
    if step is not None and recipe.train is not None and step.trains_by != "train":
        problems.append(
            f": both train and {step.key}; give the one that does {step.key} a recipe of its own with `from`"
            if step.trains_by is None
            else f": both train and {step.key}; the settings of the training after it stand under recover"
        )
    if recipe.recover is not None and (step is None or step.trains_by != "recover"):
        problems.append(".recover: is for prune alone; training settings stand under train")
    if recipe.parent is not None and step is None:
        problems.append(": does nothing to its parent; expected train or another step")
    if isinstance(step, Distill) and step.student is not None and recipe.parent is not None:
        problems.append(": both from and distill.student; leave out the one that the student does not start from")
    for key, names in _needed(recipe).items():
        for name in names:
            needed = recipes.get(name)
            # A recipe that needs itself is reported as a cycle.
            if needed is not None and needed is not recipe and needed.step and needed.step.final:
                problems.append(
                    f".{key}: {name!r} is the end of its chain (quantised, say): no further step can start from it"
                )
    return problems


def _needed(recipe: Recipe) -> dict[str, Sequence[str]]:
    """Return the recipes that a recipe reads, by the key that names them."""
    parent = [recipe.parent] if recipe.parent else []
    return {"from": parent, **{step.key: step.others for step in recipe.steps}}


def needs(name: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the known recipes that a recipe reads."""
    return [other for others in _needed(recipes[name]).values() for other in others if other in recipes]


def _cycle(name: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the shortest cycle of needed recipes that starts and ends at `name`, or an empty list."""
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for needed in needs(path[-1], recipes):
            if needed == name:
                return [*path, needed]
            if needed not in seen:
                seen.add(needed)
                paths.append([*path, needed])
    return []


def has_start(name: str, recipes: Mapping[str, Recipe]) -> bool:
    """Say whether each chain of recipes before this one begins from scratch; a missing recipe is reported elsewhere."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        step = recipes[name].step
        if recipes[name].parent is None and not (step is not None and step.from_scratch):
            return False
        waiting.extend(needs(name, recipes))
    return True


def process_problems(config: Config) -> list[str]:
    """Return which recipes can't be trained by as many processes as they ask for."""
    problems = []
    plan = Plan(config)
    for name, experiment in config.experiments.items():
        for recipe in filter(config.recipes.get, experiment.recipes):
            step = config.recipes[recipe].step
            if step is not None and step.trains_by is not None:
                needs: Needs = getattr(config.resources, step.stage)
                try:
                    require_divisible(plan.training(name, recipe), needs.threads)
                except UserError as error:
                    problems.append(f"recipes.{recipe}: in experiments.{name}: {error}")
    return problems


def step_problems(config: Config) -> list[str]:
    """Return which steps can't be done in the experiments that ask for them, as far as is known before they are."""
    problems = []
    plan = Plan(config)
    for name, experiment in config.experiments.items():
        for recipe in plan.recipes(name):
            *before, step = [config.recipes[one].step for one in plan.lineage(recipe)]
            if step is not None:
                try:
                    step.check(experiment, [one for one in before if one is not None])
                except UserError as error:
                    problems.append(f"recipes.{recipe}: in experiments.{name}: {error}")
    return problems
