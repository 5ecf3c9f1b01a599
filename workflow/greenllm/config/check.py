"""The checks that need more than one key: parents, cycles, files, GPUs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from greenllm.config.default import DEFAULT
from greenllm.config.models import (
    Config,
    EmbeddedData,
    Experiment,
    GraphData,
    HubData,
    Model,
    Needs,
    Recipe,
    TrainingOverride,
)
from greenllm.config.read import ConfigError, nearest, validate
from greenllm.config.section import Section
from greenllm.errors import UserError
from greenllm.footprint.carbon import grid_factor
from greenllm.plan import SOURCE, Plan, python_of
from greenllm.recipes.distilled import Distill
from greenllm.serving.addresses import is_endpoint, model_problem
from greenllm.serving.server_command import server_words
from greenllm.tasks import TASKS
from greenllm.training.parallel import require_divisible

# What Snakemake's patterns, or a line of a message, take for something else than a part of a path.
UNUSABLE = re.compile(r"[{}<>\x00-\x1f\x7f]")


def check_config(values: Mapping[str, Any], source: str, gpu_limit: int | None = None) -> Config:
    """Return the checked configuration.

    `source` names the file in messages; `gpu_limit` is the run's `--resources gpu=…`, None where there is none.
    Raises ConfigError with all mistakes at once, a line each.
    """
    if not isinstance(values, Mapping):
        raise ConfigError([f"{source}: expected keys such as experiments and recipes, got {str(values)[:60]!r}"])
    problems: list[str] = []
    try:
        config: Config = validate(values, Config, source)
    except ConfigError as error:
        problems, config = error.problems, _sound_study(values)
    recipes, experiments = _recipes(config), _experiments(config)
    found = [*recipes, *experiments, *_processes(config), *_files(config), *_site(config)]
    if not recipes and not experiments:  # else a chain of recipes may have no end
        found += _undoable(config)
    found += _gpus(config, gpu_limit)
    problems = [*problems, *(f"{source}: {problem}" for problem in found)]
    if problems:
        raise ConfigError(problems)
    return config


def _sound_study(values: Mapping[str, Any]) -> Config:
    """Return what can be read of a faulty configuration, so that its other mistakes are told in the same go."""
    experiments = {name: _sound(member, EXPERIMENT) for name, member in _members(values.get("experiments"))}
    recipes = {name: _or(_bare(member), member, Recipe) for name, member in _members(values.get("recipes"))}
    return _sound(values, DEFAULT).model_copy(update={"experiments": experiments, "recipes": recipes})


# What stands for the parts of an experiment that can't be read: nothing that another check would complain of.
EXPERIMENT = Experiment.model_construct(
    task="translation", data=EmbeddedData(source="embedded"), model=Model(), recipes=[], seeds=[]
)


def _sound(values: Any, otherwise: Section) -> Section:
    """Return a section with the keys of `values` that are sound; the others are as in `otherwise`."""
    sound = {
        name: _or(getattr(otherwise, name), values[name], field.annotation)
        for name, field in type(otherwise).model_fields.items()
        if isinstance(values, Mapping) and name in values and hasattr(otherwise, name)
    }
    return otherwise.model_copy(update=sound)


def _members(section: Any) -> list[tuple[str, Any]]:
    if not isinstance(section, Mapping):
        return []
    return [(name, member) for name, member in section.items() if isinstance(name, str)]


def _bare(recipe: Any) -> Recipe:
    """Return a recipe of which only the parent is known; as trained, so that it is not blamed for what is unread."""
    parent = recipe.get("from") if isinstance(recipe, Mapping) else None
    return Recipe(parent=parent if isinstance(parent, str) and parent else None, train=TrainingOverride())


def _or(otherwise: Any, values: Any, model: Any) -> Any:
    try:
        return validate(values, model, "")
    except ConfigError:
        return otherwise


def _recipes(config: Config) -> list[str]:
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
            # A recipe that needs itself is told as a cycle.
            if needed is not None and needed is not recipe and needed.step and needed.step.final:
                problems.append(
                    f".{key}: {name!r} is the end of its chain (quantised, say): no further step can start from it"
                )
    return problems


def _needed(recipe: Recipe) -> dict[str, Sequence[str]]:
    """Return the recipes that a recipe reads, by the key that names them."""
    parent = [recipe.parent] if recipe.parent else []
    return {"from": parent, **{step.key: step.others for step in recipe.steps}}


def _needs(name: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the known recipes that a recipe reads."""
    return [other for others in _needed(recipes[name]).values() for other in others if other in recipes]


def _cycle(name: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the shortest cycle of needed recipes that starts and ends at `name`, or an empty list."""
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for needed in _needs(path[-1], recipes):
            if needed == name:
                return [*path, needed]
            if needed not in seen:
                seen.add(needed)
                paths.append([*path, needed])
    return []


def _experiments(config: Config) -> list[str]:
    problems = []
    for name, experiment in config.experiments.items():
        for recipe in experiment.recipes:
            if recipe not in config.recipes:
                problems.append(
                    f"experiments.{name}.recipes: no recipe {recipe!r}{nearest(recipe, list(config.recipes))}"
                )
            elif is_endpoint(experiment.model.init) and config.recipes[recipe].step is not None:
                if _address(experiment.model):
                    continue  # reported below
                problems.append(
                    f"experiments.{name}.recipes: {recipe!r} makes a model, but model.init is an endpoint, taken as "
                    "it is; expected a recipe without a step, such as original: {}"
                )
            elif experiment.model.init == "scratch" and not _has_start(recipe, config.recipes):
                problems.append(
                    f"experiments.{name}.recipes: {recipe!r} starts without training, but model.init is scratch; "
                    "expected a recipe with train, or a model folder or hub id"
                )
        if experiment.task not in TASKS:
            problems.append(
                f"experiments.{name}.task: {experiment.task!r} is not one of the choices"
                f"{nearest(experiment.task, sorted(TASKS))}"
            )
        if isinstance(experiment.data, GraphData) and experiment.task != "question-answering":
            problems.append(f"experiments.{name}.data.source: graph is for the task question-answering alone")
        if isinstance(experiment.data, EmbeddedData) and experiment.task in TASKS:
            try:
                TASKS[experiment.task].check(experiment.data)
            except UserError as error:
                problems.append(f"experiments.{name}.{error}")
        if experiment.task in TASKS:
            try:
                TASKS[experiment.task].check_decision(Plan(config).decision(name))
            except UserError as error:
                problems.append(f"experiments.{name}.decision.{error}")
        problems.extend(f"experiments.{name}.model.{problem}" for problem in _model(experiment.model))
        deployment = Plan(config).deployment(name)
        if deployment.server is not None:
            try:
                server_words(deployment.server)
            except UserError as error:
                problems.append(f"experiments.{name}.{error}")
        if deployment.rate_per_s is not None and len(deployment.concurrency) > 1:
            problems.append(
                f"experiments.{name}.deploy.concurrency: several values, but with rate_per_s the arrivals say how many "
                "requests are under way; leave one of the two out"
            )
        languages = experiment.data.languages if isinstance(experiment.data, EmbeddedData | GraphData) else []
        for field, values in (
            ("recipes", experiment.recipes),
            ("seeds", experiment.seeds),
            ("data.languages", languages),
            ("deploy.concurrency", deployment.concurrency),
        ):
            for value, count in Counter(values).items():
                if count > 1:
                    problems.append(
                        f"experiments.{name}.{field}: {value!r} stands there {count} times; expected each once"
                    )
    return problems


def _processes(config: Config) -> list[str]:
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


def _undoable(config: Config) -> list[str]:
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


def _has_start(name: str, recipes: Mapping[str, Recipe]) -> bool:
    """Say whether all that the recipe is made from begins with a step from scratch; other breaks are told elsewhere."""
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
        waiting.extend(_needs(name, recipes))
    return True


def _model(model: Model) -> list[str]:
    """Return which keys of a model nothing would read, or nobody could, each with what is wrong."""
    if problem := _address(model):
        return [f"init: {problem}"]
    problems = []
    if model.chat and model.init == "scratch":
        problems.append("chat: a model from scratch has no chat template; leave it out")
    if model.system is not None and not model.chat:
        problems.append("system: is read with chat: true alone")
    if not is_endpoint(model.init):
        problems.extend(
            f"{key}: is read of an endpoint alone, but init is {model.init!r}"
            for key in ("served_name", "key_variable", "cgroup")
            if getattr(model, key) is not None
        )
    return problems


def _address(model: Model) -> str | None:
    """Return what is wrong with an init that is neither a folder nor a hub id; None where nothing is."""
    return None if model.init == "scratch" or is_local(model.init) else model_problem(model.init)


def _files(config: Config) -> list[str]:
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
        if from_hub and experiment.model.revision is None and not _address(experiment.model):
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


def _site(config: Config) -> list[str]:
    site = config.site
    own = (site.carbon_g_per_kWh, site.carbon_source, site.carbon_year)
    if any(value is not None for value in own) and None in own:
        return ["site: carbon_g_per_kWh, carbon_source and carbon_year go together; give all three or none"]
    try:
        grid_factor(site, date.today().year)
    except UserError as error:
        return [str(error).removeprefix("config: ")]
    return []


def _gpus(config: Config, limit: int | None) -> list[str]:
    if limit is None or config.device == "cpu":
        return []
    return [
        f"resources.{stage}.gpu: {needs.gpu} is more than the run's limit of {limit}; "
        f"lower it, or allow more by --resources gpu={needs.gpu}"
        for stage, needs in config.resources
        if needs.gpu > limit
    ]
