"""Checks of experiments against the recipes, the tasks and the study's settings."""

from collections import Counter

from greenllm.checks.files import init_problem
from greenllm.checks.recipes import has_start
from greenllm.config.models import EmbeddedData, GraphData, Model
from greenllm.config.read import nearest
from greenllm.errors import UserError
from greenllm.load.server_command import server_words
from greenllm.model_folder.addresses import is_endpoint
from greenllm.study.models import Config
from greenllm.study.plan import Plan
from greenllm.tasks import TASKS


def experiment_problems(config: Config) -> list[str]:
    """Return what is wrong with the experiments, a key and a problem each."""
    problems = []
    for name, experiment in config.experiments.items():
        for recipe in experiment.recipes:
            if recipe not in config.recipes:
                problems.append(
                    f"experiments.{name}.recipes: no recipe {recipe!r}{nearest(recipe, list(config.recipes))}"
                )
            elif is_endpoint(experiment.model.init) and config.recipes[recipe].step is not None:
                if init_problem(experiment.model):
                    continue  # reported below
                problems.append(
                    f"experiments.{name}.recipes: {recipe!r} makes a model, but model.init is an endpoint, taken as "
                    "it is; expected a recipe without a step, such as original: {}"
                )
            elif experiment.model.init == "scratch" and not has_start(recipe, config.recipes):
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


def _model(model: Model) -> list[str]:
    """Return which keys of a model nothing would read, or nobody could, each with what is wrong."""
    if problem := init_problem(model):
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
