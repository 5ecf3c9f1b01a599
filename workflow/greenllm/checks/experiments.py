"""Checks of experiments against the recipes, the tasks and the study's settings."""

from collections import Counter
from collections.abc import Iterator, Mapping

from greenllm.checks.files import init_problem
from greenllm.checks.recipes import has_start
from greenllm.checks.refusals import refusals
from greenllm.config.models import (
    Decision,
    Deployment,
    EmbeddedData,
    Evaluation,
    Experiment,
    GraphData,
    Model,
)
from greenllm.config.read import nearest
from greenllm.load.server_command import server_words
from greenllm.model_folder.addresses import is_endpoint
from greenllm.study.models import Config, Recipe
from greenllm.study.plan import Plan
from greenllm.tasks import TASKS, graph_tasks
from greenllm.tasks.task import AsksGraphs


def experiment_problems(config: Config) -> list[str]:
    """Return the problems of the experiments, each with its key."""
    plan = Plan(config)
    return [
        f"experiments.{name}.{problem}"
        for name, experiment in config.experiments.items()
        for problem in (
            *_recipes(experiment, config.recipes),
            *_task(experiment, plan.decision(name)),
            *_evaluation(experiment, plan.evaluation(name)),
            *(f"model.{problem}" for problem in (*_model(experiment.model), *_conversations(experiment))),
            *_deployment(plan.deployment(name)),
            *_repeated(experiment, plan.deployment(name)),
        )
    ]


def _recipes(experiment: Experiment, recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield the recipes that are missing, or that can't start from the experiment's model."""
    model = experiment.model
    for name in experiment.recipes:
        if name not in recipes:
            yield f"recipes: no recipe {name!r}{nearest(name, list(recipes))}"
        elif is_endpoint(model.init) and recipes[name].step is not None:
            if not init_problem(model):  # `_model` reports it
                yield (
                    f"recipes: {name!r} makes a model, but model.init is an endpoint, which is used unchanged; "
                    "expected a recipe without a step, such as original: {}"
                )
        elif model.init == "scratch" and not has_start(name, recipes):
            yield (
                f"recipes: {name!r} starts without training, but model.init is scratch; "
                "expected a recipe with train, or a model folder or hub id"
            )


def _task(experiment: Experiment, decision: Decision) -> Iterator[str]:
    """Yield the problems of the task, and of the data and the decision as the task reads them."""
    data, task = experiment.data, TASKS.get(experiment.task)
    if task is None:
        yield f"task: {experiment.task!r} is not one of the choices{nearest(experiment.task, sorted(TASKS))}"
    if isinstance(data, GraphData) and task is not None and not isinstance(task, AsksGraphs):
        yield f"data.source: graph is only for the tasks {graph_tasks()}"
    if task is not None and not task.reads(data):
        yield "data.source: harness is for the task harness alone, which has no other source"
    elif isinstance(data, EmbeddedData) and task is not None:
        yield from refusals(task.check, data)
    if task is not None and not task.scores_answers and is_endpoint(experiment.model.init):
        yield f"task: {task.name} needs the likelihood of given texts, which an endpoint does not report"
    if task is not None:
        yield from (f"decision.{problem}" for problem in refusals(task.check_decision, decision))


def _evaluation(experiment: Experiment, evaluation: Evaluation) -> Iterator[str]:
    """Yield the keys of an evaluation that the task has no use for."""
    task = TASKS.get(experiment.task)
    if task is not None:
        yield from refusals(task.check_evaluation, evaluation)


def _model(model: Model) -> Iterator[str]:
    """Yield the keys of a model that are invalid, or that have no effect."""
    if problem := init_problem(model):
        yield f"init: {problem}"
        return
    if model.chat and model.init == "scratch":
        yield "chat: a model from scratch has no chat template; leave it out"
    if model.system is not None and not model.chat:
        yield "system: is used only with chat: true; add that, or leave system out"
    if not is_endpoint(model.init):
        for key in ("served_name", "key_variable", "cgroup"):
            if getattr(model, key) is not None:
                yield f"{key}: is used only with an endpoint, but init is {model.init!r}"


def _conversations(experiment: Experiment) -> Iterator[str]:
    """Yield why the model can't hold the task's conversations."""
    task, model = TASKS.get(experiment.task), experiment.model
    if task is None or not task.has_conversations or init_problem(model):
        return
    if is_endpoint(model.init):
        yield f"init: the task {task.name} asks with several turns, which endpoints don't get; expected a model"
    elif model.init == "scratch":
        yield f"init: the task {task.name} needs a chat template, which scratch has not; name an instruct model"
    elif not model.chat:
        yield f"chat: the task {task.name} needs the model's chat template; write chat: true"


def _deployment(deployment: Deployment) -> Iterator[str]:
    """Yield the problems of the server's command, and of the requests sent to it."""
    if deployment.server is not None:
        yield from refusals(server_words, deployment.server)
    if deployment.narrow is not None and min(deployment.starts, deployment.rounds or deployment.starts) < 2:
        yield (
            "deploy.starts: 1 start shows no spread, from which narrow determines the number of starts; expected at "
            "least 2 starts and rounds, or leave narrow out"
        )
    if deployment.rate_per_s is not None and len(deployment.concurrency) > 1:
        yield (
            "deploy.concurrency: several values, but with rate_per_s the arrivals determine how many requests are in "
            "flight; leave one of the two out"
        )


def _repeated(experiment: Experiment, deployment: Deployment) -> Iterator[str]:
    """Yield the values that a list holds more than once."""
    data = experiment.data
    for field, values in (
        ("recipes", experiment.recipes),
        ("seeds", experiment.seeds),
        ("data.languages", data.languages if isinstance(data, EmbeddedData | GraphData) else []),
        ("deploy.concurrency", deployment.concurrency),
    ):
        for value, count in Counter(values).items():
            if count > 1:
                yield f"{field}: {value!r} is listed {count} times; expected each value once"
