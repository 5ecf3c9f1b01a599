"""Checks of experiments on tasks of lm-evaluation-harness, before anything runs."""

from collections.abc import Iterator
from pathlib import Path

from greenllm.config.models import Experiment, HarnessData
from greenllm.errors import UserError
from greenllm.harness.loading import unknown_task
from greenllm.study.models import Config
from greenllm.study.plan import Plan


def harness_problems(config: Config) -> list[str]:
    """Return why harness tasks can't be run: what is missing, and what has no rows to train on."""
    return [
        f"experiments.{name}.{problem}"
        for name, experiment in config.experiments.items()
        if isinstance(experiment.data, HarnessData)
        for problem in (*_without_training(experiment, config), *_unknown(experiment.data, config))
    ]


def _without_training(experiment: Experiment, config: Config) -> Iterator[str]:
    if experiment.model.init == "scratch":
        yield "model.init: the task harness has no rows to train on; expected a trained model"
    steps = [step for name in experiment.recipes if name in config.recipes for step in Plan(config).lineage(name)]
    for name in dict.fromkeys(steps):
        if (step := config.recipes[name].step) is not None and step.trains_by:
            yield f"recipes: {name!r} trains, and harness tasks have no rows to train on; leave it out"


def _unknown(data: HarnessData, config: Config) -> Iterator[str]:
    folder = None if data.include_path is None else Path(config.data_folder, data.include_path).expanduser()
    if folder is not None and not folder.is_dir():
        return  # the check of files reports it
    try:
        problem = unknown_task(data.tasks, folder)
    except UserError as error:
        yield str(error)
        return
    if problem:
        yield f"data.{problem}"
