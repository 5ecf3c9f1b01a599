"""Controls: where a recipe changes several things at once, another recipe changes the engine, or the device, alone.

Both are compared with the baseline, so that a saving is credited to its cause. A control is a recipe like any other:
it is made, evaluated, measured, compared and recommended.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenllm.config.models import Deployment, Experiment
from greenllm.config.read import ConfigError
from greenllm.config.section import overridden
from greenllm.model_folder.addresses import is_endpoint
from greenllm.recipes.exported import Export
from greenllm.recipes.on_cpu import OnCpu
from greenllm.study.layout import SOURCE

if TYPE_CHECKING:
    from greenllm.study.models import Recipe

Move = Export | OnCpu


@dataclass(frozen=True)
class Control:
    """A recipe that only moves the model of `parent` (None: the experiment's) to another engine or device."""

    parent: str | None
    step: Move

    @property
    def name(self) -> str:
        """The name that it gets where the study has no such recipe."""
        return f"{self.parent or SOURCE}-{self._where}"

    @property
    def written(self) -> str:
        """The recipe as a user writes it."""
        return f"{{{f'from: {self.parent}, ' if self.parent else ''}{self.step.key}: {self._where}}}"

    @property
    def _where(self) -> str:
        return str(getattr(self.step, self.step.short_form))

    def on(self, recipes: "Mapping[str, Recipe]") -> "Control":
        """Return the control on the recipe that makes its parent's model: equal controls move one model alike."""
        return Control(_model(self.parent, recipes), self.step)


def engine_alone(recipe: "Recipe") -> Export | None:
    """Return the step that only moves a model to the recipe's engine; None if that is transformers."""
    return recipe.step.engine_alone() if recipe.step else None


def is_on_cpu(recipe: "Recipe") -> bool:
    """Return whether a recipe's model runs only on the CPU."""
    return recipe.step is not None and recipe.step.on_cpu


def engine_control(recipe: str, recipes: "Mapping[str, Recipe]") -> Control | None:
    """Return the control of a recipe's engine: the same parent's model, moved to it.

    None if the engine is transformers, or if the recipe changes nothing else.
    """
    alone = engine_alone(recipes[recipe])
    return None if alone is None or recipes[recipe].step == alone else Control(recipes[recipe].parent, alone)


def device_control(
    recipe: str, baseline: str, compared: Collection[str], recipes: "Mapping[str, Recipe]"
) -> Control | None:
    """Return the control of a recipe's device: the last model before it that may use a GPU, on the CPU.

    None for a recipe that may use a GPU, and if the baseline runs on the CPU as well. A recipe that changes only the
    device is its own control.
    """
    if not is_on_cpu(recipes[recipe]) or is_on_cpu(recipes[baseline]):
        return None
    *_, last = (name for name in ancestors(recipe, baseline, compared, recipes) if not is_on_cpu(recipes[name]))
    return Control(last, OnCpu(use="cpu"))


def ancestors(recipe: str, baseline: str, compared: Collection[str], recipes: "Mapping[str, Recipe]") -> list[str]:
    """Return the baseline and the compared ancestors of a recipe, the oldest first, without those before the baseline.

    The configuration may be unchecked: what is missing or a cycle ends the chain.
    """
    chain: list[str] = []
    parent = recipes[recipe].parent
    while parent is not None and parent in recipes and parent not in (recipe, *chain):
        chain.insert(0, parent)
        parent = recipes[parent].parent
    if baseline in chain:
        chain = chain[chain.index(baseline) + 1 :]
    return [baseline, *(name for name in chain if name in compared)]


def with_controls(
    experiments: Mapping[str, Experiment], recipes: "Mapping[str, Recipe]", deploy: Deployment, *, on_gpu: bool
) -> "tuple[dict[str, Experiment], dict[str, Recipe]]":
    """Return the experiments and recipes of a study with the controls that they lack, just before the first in need.

    `on_gpu`: measurements have a GPU, so that a recipe on the CPU changes the device as well. `deploy.controls: false`
    adds none. Raises ConfigError with a line for each control whose name another recipe has.
    """
    completed, known = dict(experiments), dict(recipes)
    moving = moves(known)
    added: dict[str, list[str]] = {}  # by the recipe that they come before
    problems: dict[str, str] = {}
    for name, experiment in experiments.items():
        compared = set(experiment.recipes)
        before: dict[str, list[str]] = {}
        own = overridden(deploy, experiment.deploy)
        for recipe in experiment.recipes if own.controls else ():
            # Another server computes where it chooses, whatever the recipe.
            for control in _needed(recipe, experiment, known, on_gpu=on_gpu and own.server is None):
                same = moving.setdefault(control.on(known), [])
                if not compared.isdisjoint(same):
                    continue
                if not same and control.name in known:
                    problems.setdefault(control.name, _name_taken(control, name, recipe))
                    continue
                if not same:
                    known[control.name] = type(known[recipe])(parent=control.parent, **{control.step.key: control.step})
                    added.setdefault(recipe, []).append(control.name)
                    same.append(control.name)
                before.setdefault(recipe, []).append(same[0])
                compared.add(same[0])
        completed[name] = experiment.model_copy(update={"recipes": list(_with(before, experiment.recipes))})
    if problems:
        raise ConfigError(list(problems.values()))
    return completed, {name: known[name] for name in _with(added, recipes)}


def moves(recipes: "Mapping[str, Recipe]") -> dict[Control, list[str]]:
    """Return the recipes that only move a model, by what they do."""
    found: dict[Control, list[str]] = {}
    for name, recipe in recipes.items():
        if isinstance(step := recipe.step, Move):
            found.setdefault(Control(recipe.parent, step).on(recipes), []).append(name)
    return found


def _with(added: Mapping[str, Sequence[str]], names: Iterable[str]) -> Iterator[str]:
    """Yield the names, each after those that are added before it."""
    waiting = dict(added)
    for name in names:
        yield from (*waiting.pop(name, ()), name)


def _model(recipe: str | None, recipes: "Mapping[str, Recipe]") -> str | None:
    """Return the recipe that makes a recipe's model; None for the experiment's model, also taken unchanged."""
    return None if recipe is None or (recipe in recipes and recipes[recipe].step is None) else recipe


def _needed(recipe: str, experiment: Experiment, recipes: "Mapping[str, Recipe]", *, on_gpu: bool) -> Iterator[Control]:
    """Yield the controls that a recipe needs, in the order of their changes: the device, then the engine.

    The configuration is not checked yet: what can't be made gets no control, and the check reports it once.
    """
    baseline = experiment.baseline
    if recipe not in recipes or baseline not in recipes:
        return
    found = [device_control(recipe, baseline, experiment.recipes, recipes) if on_gpu else None]
    if engine_alone(recipes[recipe]) != engine_alone(recipes[baseline]):
        found.append(engine_control(recipe, recipes))
    yield from (control for control in found if control and _can_be_made(control, experiment, recipes))


def _can_be_made(control: Control, experiment: Experiment, recipes: "Mapping[str, Recipe]") -> bool:
    before, init = _model(control.parent, recipes), experiment.model.init
    if before is None:
        return init != "scratch" and not is_endpoint(init)
    step = recipes[before].step if before in recipes else None
    return step is not None and not step.final


def _name_taken(control: Control, experiment: str, recipe: str) -> str:
    return (
        f"recipes.{control.name}: {recipe!r} in experiments.{experiment} needs the control {control.written} of this "
        "name; rename this recipe, or write the control under another name, or set deploy.controls: false"
    )
