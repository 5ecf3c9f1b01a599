"""What can be read of a faulty configuration, so that one check reports all mistakes at once.

Pydantic returns either a whole configuration or its errors, never the valid part. But a misspelt key in one experiment
must not hide a recipe that is missing in another: whoever mends one mistake would then be shown the next. So a faulty
configuration is read a second time, each section and each member separately. A placeholder replaces each part that
fails: its mistake is reported already, and its values are chosen so that no later check reports them.
"""

from collections.abc import Mapping
from typing import Any

from greenllm.config.models import EmbeddedData, Experiment, Model, Training
from greenllm.config.read import ConfigError, validate
from greenllm.config.section import Override, Section
from greenllm.study.default import DEFAULT
from greenllm.study.models import Config, Recipe

PLACEHOLDER = Experiment.model_construct(
    task="translation", data=EmbeddedData(source="embedded"), model=Model(), recipes=[], seeds=[]
)


def readable_study(values: Mapping[str, Any]) -> Config:
    """Return the valid parts of a faulty configuration; placeholders and defaults take the place of the others."""
    experiments = {name: _readable(member, PLACEHOLDER) for name, member in _members(values.get("experiments"))}
    recipes = {name: valid_or(_parent_only(member), member, Recipe) for name, member in _members(values.get("recipes"))}
    return _readable(values, DEFAULT).model_copy(update={"experiments": experiments, "recipes": recipes})


def _readable(values: Any, placeholder: Section) -> Section:
    """Return `placeholder` with those keys of `values` that are valid."""
    valid = {
        name: valid_or(getattr(placeholder, name), values[name], field.annotation)
        for name, field in type(placeholder).model_fields.items()
        if isinstance(values, Mapping) and name in values and hasattr(placeholder, name)
    }
    return placeholder.model_copy(update=valid)


def _members(section: Any) -> list[tuple[str, Any]]:
    """Return the members of `experiments` or `recipes`, by name; none if it is not a mapping."""
    if not isinstance(section, Mapping):
        return []
    return [(name, member) for name, member in section.items() if isinstance(name, str)]


def _parent_only(recipe: Any) -> Recipe:
    """Return the placeholder of a recipe: its parent, if that can be read, and a training, so that it has a step."""
    parent = recipe.get("from") if isinstance(recipe, Mapping) else None
    return Recipe(parent=parent if isinstance(parent, str) and parent else None, train=Override[Training]())


def valid_or(placeholder: Any, values: Any, model: Any) -> Any:
    """Return `values` as `model`, or `placeholder` if they are not valid."""
    try:
        return validate(values, model, "")
    except ConfigError:
        return placeholder
