"""The applications. Each file in this folder that defines a `Task` is found by itself."""

import importlib
import pkgutil

from greenllm.tasks.task import Task

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

TASKS: dict[str, Task] = {task.name: task() for task in Task.__subclasses__()}

__all__ = ["TASKS", "Task"]
