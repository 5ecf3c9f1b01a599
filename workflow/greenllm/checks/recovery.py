"""What can be read of a faulty configuration, so that one check reports all mistakes at once.

A mistake in one section must not hide those in others. Each part is validated alone; a placeholder takes the place of
one that fails, with values of which no later check complains.
"""

from collections.abc import Mapping
from typing import Any

from greenllm.config.models import EmbeddedData, Experiment, Model, TrainingOverride
from greenllm.config.read import ConfigError, validate
from greenllm.config.section import Section
from greenllm.study.default import DEFAULT
from greenllm.study.models import Config, Recipe


def readable_study(values: Mapping[str, Any]) -> Config:
    """Return what can be read of a faulty configuration, so that its other mistakes are reported as well."""
    experiments = {name: _readable(member, EXPERIMENT) for name, member in _members(values.get("experiments"))}
    recipes = {name: valid_or(_parent_only(member), member, Recipe) for name, member in _members(values.get("recipes"))}
    return _readable(values, DEFAULT).model_copy(update={"experiments": experiments, "recipes": recipes})


# Placeholder for an experiment that can't be parsed. Its values are chosen so that no later check reports them.
EXPERIMENT = Experiment.model_construct(
    task="translation", data=EmbeddedData(source="embedded"), model=Model(), recipes=[], seeds=[]
)


def _readable(values: Any, otherwise: Section) -> Section:
    """Return a section with the keys of `values` that are sound; the others are as in `otherwise`."""
    sound = {
        name: valid_or(getattr(otherwise, name), values[name], field.annotation)
        for name, field in type(otherwise).model_fields.items()
        if isinstance(values, Mapping) and name in values and hasattr(otherwise, name)
    }
    return otherwise.model_copy(update=sound)


def _members(section: Any) -> list[tuple[str, Any]]:
    if not isinstance(section, Mapping):
        return []
    return [(name, member) for name, member in section.items() if isinstance(name, str)]


def _parent_only(recipe: Any) -> Recipe:
    """Return a recipe of which only the parent is known; as trained, so that it is not blamed for what is unread."""
    parent = recipe.get("from") if isinstance(recipe, Mapping) else None
    return Recipe(parent=parent if isinstance(parent, str) and parent else None, train=TrainingOverride())


def valid_or(otherwise: Any, values: Any, model: Any) -> Any:
    """Return `values` as `model`, or `otherwise` where they are not valid."""
    try:
        return validate(values, model, "")
    except ConfigError:
        return otherwise
