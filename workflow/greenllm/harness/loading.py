"""Tasks of lm-evaluation-harness by name; what can't be loaded is refused in one line."""

import contextlib
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenllm.config.read import nearest
from greenllm.errors import UserError, quoted, reason
from greenllm.harness.network import only_the_cache_without_network


def require_harness() -> None:
    """Raise UserError if the package is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(
            "task harness: the package lm_eval is not installed; `make harness` installs it, or "
            "pip install --constraint envs/constraints.txt '.[harness]'"
        )


def unknown_task(names: Sequence[str], include_path: Path | None) -> str | None:
    """Return a line that names the first task that the harness does not know; None if it knows all.

    Reads the index of the task files alone, in a second or two, and no data. Raises UserError without the package.
    """
    return _unknown(_manager(names, include_path), names)


def _unknown(manager: Any, names: Sequence[str]) -> str | None:
    known: list[str] = manager.all_tasks
    return next(
        (f"tasks: lm_eval has no task {quoted(name)}{nearest(name, known)}" for name in names if name not in known),
        None,
    )


def load_tasks(names: Sequence[str], num_fewshot: int | None, include_path: Path | None) -> dict[str, Any]:
    """Return lm_eval's `Task` objects with their data by name; a group is all of its tasks.

    Raises UserError if the package is missing, a task does not exist, or its data can't be had.
    """
    manager = _manager(names, include_path)
    if problem := _unknown(manager, names):
        raise UserError(f"data.{problem}")
    tasks: dict[str, Any] = {}
    remote = not all(_has_local_data(manager.task_index[name]) for name in names)
    with only_the_cache_without_network() if remote else contextlib.nullcontext():
        for name in names:
            try:
                tasks |= manager.load([name])["tasks"]
            except Exception as error:  # a task's file is foreign code, and its data may be anywhere
                raise UserError(
                    f"data.tasks: {name}: its data can't be loaded ({reason(error)[:300]}); data on the Hugging Face "
                    "hub need a network once, or files named in a task of your own (data.include_path)"
                ) from None
    for task in tasks.values():
        # As lm_eval itself does: a task that fixes 0 examples keeps them.
        if task.get_config("num_fewshot") is None or (num_fewshot is not None and task.get_config("num_fewshot") != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    return tasks


FEWSHOT_SEED = 1234  # lm_eval's own default
FILE_KINDS = ("json", "csv", "parquet", "arrow", "text")  # a task's dataset_path that is no data set on the hub


def _has_local_data(entry: Any) -> bool:
    """Return whether a task's file names data on this machine; of a group it is unknown."""
    from lm_eval.tasks._yaml_loader import load_yaml

    if entry.yaml_path is None:
        return False
    return load_yaml(entry.yaml_path, resolve_func=False).get("dataset_path") in FILE_KINDS


def _manager(names: Sequence[str], include_path: Path | None) -> Any:
    """Return lm_eval's index of tasks: of the user's folder alone if it has all of these, which saves seconds."""
    require_harness()
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        if include_path is None:
            return TaskManager()
        own = TaskManager(include_path=str(include_path), include_defaults=False)
        return own if {*names} <= {*own.all_subtasks} else TaskManager(include_path=str(include_path))
    except Exception as error:  # a file in the user's folder that is no task
        raise UserError(f"data.include_path: {include_path}: {reason(error)[:300]}") from None
