"""The applications. Each file in this folder that defines a `Task` is found by itself."""

import importlib
import pkgutil
from typing import Any

from greenllm.errors import listed
from greenllm.tasks.task import AsksGraphs, Task

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

TASKS: dict[str, Task[Any]] = {task.name: task() for task in Task.__subclasses__()}


def graph_tasks() -> str:
    """Return the names of the tasks that make their rows from a knowledge graph, for messages."""
    return listed([name for name, task in TASKS.items() if isinstance(task, AsksGraphs)])


__all__ = ["TASKS", "Task", "graph_tasks"]
