"""Checks of the files and folders that a configuration names."""

import re
from pathlib import Path

from greenllm.config.models import HubData, Model
from greenllm.model_folder.addresses import is_endpoint, model_problem
from greenllm.study.models import Config
from greenllm.study.plan import Plan, python_of

# Characters that have a meaning in Snakemake's patterns, or that end a line of a message.
UNUSABLE = re.compile(r"[{}<>\x00-\x1f\x7f]")


def file_problems(config: Config) -> list[str]:
    """Return what is wrong with the files and folders that the configuration names: a key and a problem each."""
    problems = []
    for name, recipe in config.recipes.items():
        environment = recipe.step.environment if recipe.step else None
        if environment and not python_of(environment).is_file():
            problems.append(
                f"recipes.{name}: needs the environment {environment}, which is missing; `make {environment}` makes it"
            )
    results = Path(config.results).absolute()
    there = next(path for path in (results, *results.parents) if path.exists())
    if not there.is_dir():
        where = "is a file" if there == results else f"is below {str(there)!r}, which is a file"
        problems.append(f"results: {config.results!r} {where}; expected a folder, or the name of a new one")
    if UNUSABLE.search(config.results) or config.results != config.results.strip() or config.results.startswith("-"):
        problems.append(
            f"results: {config.results!r} can be no results folder; expected a path without {{ }} < >, line breaks and "
            "the like, that begins with no dash and neither begins nor ends with a blank"
        )
    for name, experiment in config.experiments.items():
        data = experiment.data
        for field, value in data.files.items():
            path = Path(config.data_folder, value)
            if made := _made_around(path, config):
                problems.append(f"experiments.{name}.data.{field}: {str(path)!r} is in {made}")
            if not path.is_file():
                problems.append(
                    f"experiments.{name}.data.{field}: no file {str(path)!r}; expected a path from data_folder "
                    f"({config.data_folder!r}), which --config data_folder=… sets"
                )
        if isinstance(data, HubData) and model_problem(data.id):
            problems.append(
                f"experiments.{name}.data.id: {data.id!r} is no id at the Hugging Face hub; expected OWNER/NAME"
            )
        init = experiment.model.init
        if is_local(init) and (made := _made_around(Path(init), config)):
            problems.append(f"experiments.{name}.model.init: {init!r} is in {made}")
        if is_local(init) and not Path(init, "config.json").expanduser().is_file():
            problems.append(f"experiments.{name}.model.init: no config.json in {init!r}; expected a model folder")
        from_hub = init != "scratch" and not is_local(init) and not is_endpoint(init)
        if from_hub and experiment.model.revision is None and not init_problem(experiment.model):
            problems.append(f"experiments.{name}.model.revision: is missing; expected a commit or tag of {init!r}")
    return problems


def _made_around(path: Path, config: Config) -> str | None:
    """Return which folder around `path` this study makes anew, if it does, and what to do: what is there goes then."""
    place = path.resolve()
    for folder in Plan(config).made_folders():
        if place.is_relative_to(folder.resolve()):
            return f"{str(folder)!r}, which this study makes anew; move it elsewhere, or name other results"
    return None


def is_local(init: str) -> bool:
    """Say whether `model.init` names a folder (it exists, or looks like a path), not a hub id."""
    return init != "scratch" and (init.startswith((".", "/", "~")) or Path(init).exists())


def init_problem(model: Model) -> str | None:
    """Return what is wrong with an init that is neither a folder nor a hub id; None where nothing is."""
    return None if model.init == "scratch" or is_local(model.init) else model_problem(model.init)
