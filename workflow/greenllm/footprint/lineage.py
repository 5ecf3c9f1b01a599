"""What a model rests on: the chain of recipes behind it, and the jobs that made it, each once."""

from collections.abc import Mapping
from dataclasses import dataclass

from greenllm.config.models import Config, Recipe


@dataclass(frozen=True)
class Step:
    """One job in the making of a model; `recipe` and `seed` are None where all models of the experiment share it."""

    rule: str
    experiment: str
    recipe: str | None = None
    seed: int | None = None


def chain(recipes: Mapping[str, Recipe], name: str) -> list[str]:
    """Return the recipes from the first ancestor down to `name` itself."""
    found: list[str] = []
    current: str | None = name
    while current is not None:
        found.append(current)
        current = recipes[current].parent
    return found[::-1]


def steps(config: Config, experiment: str, recipe: str, seed: int) -> list[Step]:
    """Return the jobs that a model's cost to produce is made of, in order, each ancestor's once."""
    found = [Step("collect", experiment), Step("preprocess", experiment)]
    if config.experiments[experiment].model.init != "scratch":
        found.insert(1, Step("collect_model", experiment))
    for name in chain(config.recipes, recipe):
        if config.recipes[name].train is not None:
            found.append(Step("train", experiment, name, seed))
        if config.recipes[name].quantize is not None:
            found.append(Step("compress", experiment, name, seed))
    return found
