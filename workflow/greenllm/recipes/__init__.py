"""Recipe steps, one file each. The `Step` of every file in this folder adds its key to recipes."""

import importlib
import pkgutil

from greenllm.recipes.step import Job, Step

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

STEPS: dict[str, type[Step]] = {step.key: step for step in Step.__subclasses__()}

__all__ = ["STEPS", "Job", "Step"]
