"""Checks of the files and folders that a configuration names."""

import re
from collections.abc import Iterator
from pathlib import Path

from greenllm.checks.refusals import refusals
from greenllm.config.models import Data, HubData, Model
from greenllm.data.gguf_model import is_gguf
from greenllm.data.model_files import require_whole
from greenllm.data.model_use import ModelUse, require_usable
from greenllm.data.packaged_model import find_packaged
from greenllm.errors import UserError
from greenllm.model_folder.addresses import is_endpoint, is_packaged, model_problem
from greenllm.study.models import Config
from greenllm.study.plan import Plan, python_of

# Characters that have a meaning in Snakemake's patterns, or that end a line of a message.
UNUSABLE = re.compile(r"[{}<>\x00-\x1f\x7f]")


def file_problems(config: Config) -> list[str]:
    """Return the problems of the files and folders that the configuration names, each with its key."""
    problems = [*_environments(config), *_results(config.results)]
    for name, experiment in config.experiments.items():
        problems += [f"experiments.{name}.data.{problem}" for problem in _data(experiment.data, config)]
        problems += [f"experiments.{name}.model.{problem}" for problem in _model(experiment.model, config)]
    return problems


def use_problems(config: Config) -> list[str]:
    """Return why a study can't use the models on this machine, each with its key; its recipes are valid."""
    plan = Plan(config)
    problems = []
    for name, experiment in config.experiments.items():
        init, path = experiment.model.init, _place(experiment.model)
        if path is not None:
            use = ModelUse(chat=experiment.model.chat, engines=plan.engines_of_source(name))
            found = refusals(require_usable, init, path, use)
            if not found and path.is_dir():
                found = refusals(require_whole, init, path)
            problems += [f"experiments.{name}.model.init: {problem}" for problem in found]
    return problems


def _place(model: Model) -> Path | None:
    """Return where a model is on this machine; None if it is elsewhere, or is missing, which `_model` reports."""
    if is_packaged(model.init):
        try:
            return find_packaged(model.init, model.revision).path
        except UserError:
            return None
    path = Path(model.init).expanduser()
    there = (path / "config.json").is_file() or (is_gguf(path) and path.is_file())
    return path if is_local(model.init) and there else None


def _environments(config: Config) -> Iterator[str]:
    """Yield the recipes whose environment is not installed."""
    for name, recipe in config.recipes.items():
        needed = recipe.step.environment if recipe.step else None
        if needed and not python_of(needed).is_file():
            yield f"recipes.{name}: needs the environment {needed}, which is missing; `make {needed}` makes it"


def _results(results: str) -> Iterator[str]:
    """Yield why the results folder can't be made, or can't be used in Snakemake's patterns."""
    folder = Path(results).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        where = "is a file" if existing == folder else f"is below {str(existing)!r}, which is a file"
        yield f"results: {results!r} {where}; expected a folder, or the name of a new one"
    if UNUSABLE.search(results) or results != results.strip() or results.startswith("-"):
        yield (
            f"results: {results!r} can't be used as results folder; expected a path without {{ }} < >, line breaks "
            "and other control characters, that does not begin with a dash and does not begin or end with a blank"
        )


def _data(data: Data, config: Config) -> Iterator[str]:
    """Yield the data files that are missing or that the study would delete, and an id that the hub can't have."""
    for field, value in data.files.items():
        path = Path(config.data_folder, value)
        if made := _made_around(path, config):
            yield f"{field}: {str(path)!r} is in {made}"
        if field == "include_path":
            if not path.expanduser().is_dir():
                yield f"{field}: no folder {str(path)!r}; expected one with task files, from data_folder"
        elif not path.is_file():
            yield (
                f"{field}: no file {str(path)!r}; expected a path from data_folder ({config.data_folder!r}), which "
                "--config data_folder=… sets"
            )
    if isinstance(data, HubData) and model_problem(data.id):
        yield f"id: {data.id!r} is no id at the Hugging Face hub; expected OWNER/NAME"


def _model(model: Model, config: Config) -> Iterator[str]:
    """Yield why a model's folder, file or package can't be used, and a missing revision of a model at the hub."""
    init = model.init
    if is_packaged(init):
        yield from (f"init: {problem}" for problem in refusals(find_packaged, init, model.revision))
    elif is_local(init):
        path = Path(init).expanduser()
        if made := _made_around(Path(init), config):
            yield f"init: {init!r} is in {made}"
        if is_gguf(path) and not path.is_dir():
            if not path.is_file():
                yield f"init: no GGUF file {init!r}"
        elif not (path / "config.json").is_file():
            yield f"init: no config.json in {init!r}; expected a model folder, or a GGUF file"
    elif init != "scratch" and not is_endpoint(init) and model.revision is None and not init_problem(model):
        yield f"revision: is missing; expected a commit or tag of {init!r}"


def _made_around(path: Path, config: Config) -> str | None:
    """Return the folder around `path` that this study replaces, which deletes its content, and how to mend that."""
    place = path.resolve()
    for folder in Plan(config).made_folders():
        if place.is_relative_to(folder.resolve()):
            return f"{str(folder)!r}, which this study replaces; move it elsewhere, or name other results"
    return None


def is_local(init: str) -> bool:
    """Return whether `model.init` names a folder or a GGUF file (it exists, or is written as a path), not a hub id."""
    return init != "scratch" and (init.startswith((".", "/", "~")) or is_gguf(init) or Path(init).exists())


def init_problem(model: Model) -> str | None:
    """Return what is wrong with an init that is no folder, file, package or hub id; None if nothing is."""
    elsewhere = model.init == "scratch" or is_packaged(model.init) or is_local(model.init)
    return None if elsewhere else model_problem(model.init)
