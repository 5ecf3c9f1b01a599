"""Checks of recipes: what each does, what it starts from, and whether that can be done."""

from collections.abc import Iterator, Mapping, Sequence

from greenllm.checks.refusals import refusals
from greenllm.config.read import nearest
from greenllm.recipes.distilled import Distill
from greenllm.study.layout import SOURCE
from greenllm.study.models import Config, Recipe
from greenllm.study.plan import Plan
from greenllm.training.parallel import require_divisible


def recipe_problems(config: Config) -> list[str]:
    """Return the problems of each recipe and of its chain of ancestors, each with its key."""
    return [
        f"recipes.{name}{problem}"
        for name, recipe in config.recipes.items()
        for problem in (
            *_name_and_ancestors(name, config.recipes),
            *_keys(recipe),
            *_after_a_final_step(recipe, config.recipes),
        )
    ]


def _name_and_ancestors(name: str, recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield a reserved name, needed recipes that are missing, and a cycle."""
    if name == SOURCE:
        yield ": the workflow uses this name itself, for the model that an experiment starts from; choose another"
    for key, needed in _needed(recipes[name]).items():
        for missing in needed:
            if missing not in recipes:
                yield f".{key}: no recipe {missing!r}{nearest(missing, [other for other in recipes if other != name])}"
    if cycle := _cycle(name, recipes):
        yield f".from: a cycle of parents ({' → '.join(cycle)}); one must start without `from`"


def _keys(recipe: Recipe) -> Iterator[str]:
    """Yield the keys of a recipe that exclude each other, or that have no effect."""
    step, keys = recipe.step, [step.key for step in recipe.steps]
    if len(keys) > 1:
        yield f": {' and '.join(keys)} in one recipe; write a recipe for each, with `from`"
    if step is not None and recipe.train is not None and step.trains_by != "train":
        remedy = f"write a recipe for {step.key} alone" + (", with `from`" if step.takes_parent else "")
        if step.trains_by is not None:
            remedy = "the settings of the training after it belong under recover"
        yield f": both train and {step.key}; {remedy}"
    if recipe.recover is not None and (step is None or step.trains_by != "recover"):
        yield ".recover: is only for prune; training settings belong under train"
    if recipe.parent is not None and step is None:
        yield ": does nothing to its parent; expected train or another step"
    if recipe.parent is not None and step is not None and not step.takes_parent:
        yield f".from: {step.key} starts from nothing, so its parent would be made and not used; leave `from` out"
    if isinstance(step, Distill) and step.student is not None and recipe.parent is not None:
        yield ": both from and distill.student; leave out the one that the student does not start from"


def _after_a_final_step(recipe: Recipe, recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield the recipes that this one reads although no step can follow theirs."""
    for key, names in _needed(recipe).items():
        for name in names:
            needed = recipes.get(name)
            # A recipe that needs itself is reported as a cycle.
            if needed is not None and needed is not recipe and needed.step and needed.step.final:
                yield f".{key}: {name!r} ends its chain (it is quantised, for example): no step can start from it"


def _needed(recipe: Recipe) -> dict[str, Sequence[str]]:
    """Return the recipes that a recipe reads, by the key that names them."""
    parent = [recipe.parent] if recipe.parent else []
    return {"from": parent, **{step.key: step.others for step in recipe.steps}}


def _known_needed(name: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the recipes that a recipe reads, without those that are missing."""
    return [other for others in _needed(recipes[name]).values() for other in others if other in recipes]


def _cycle(name: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the shortest cycle of needed recipes that starts and ends at `name`, or an empty list.

    `graphlib` reports one cycle of the whole graph, not whether a recipe is in one: each recipe has a line here.
    """
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for needed in _known_needed(path[-1], recipes):
            if needed == name:
                return [*path, needed]
            if needed not in seen:
                seen.add(needed)
                paths.append([*path, needed])
    return []


def has_start(name: str, recipes: Mapping[str, Recipe]) -> bool:
    """Return whether each chain of ancestors begins from scratch; a missing recipe is reported elsewhere."""
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
        waiting.extend(_known_needed(name, recipes))
    return True


def process_problems(config: Config) -> list[str]:
    """Return the recipes that can't be trained by as many processes as they ask for, each with its key.

    Those that others only start from or read are trained, too. The recipes are valid otherwise.
    """
    plan = Plan(config)
    return [
        f"recipes.{recipe}: in experiments.{name}: {problem}"
        for name in config.experiments
        for recipe in plan.recipes(name)
        if (step := config.recipes[recipe].step) and step.trains_by
        for problem in refusals(
            require_divisible, plan.training(name, recipe), getattr(config.resources, step.stage).threads
        )
    ]


def step_problems(config: Config) -> list[str]:
    """Return the steps that can't be done in the experiments that ask for them, as far as that is known beforehand."""
    problems = []
    plan = Plan(config)
    for name, experiment in config.experiments.items():
        for recipe in plan.recipes(name):
            *before, step = [config.recipes[one].step for one in plan.lineage(recipe)]
            if step is not None:
                found = refusals(step.check, experiment, [one for one in before if one is not None])
                problems += [f"recipes.{recipe}: in experiments.{name}: {problem}" for problem in found]
    return problems
