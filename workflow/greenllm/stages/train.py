"""`greenllm train`: a step of a recipe that learns from prepared data: train, distil, adapt."""

import argparse

from greenllm.stages import recipe_step


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    recipe_step.configure(parser, recipe="{train: {}}")


def run(arguments: argparse.Namespace) -> int:
    """Train; return 130 where the user interrupts."""
    return recipe_step.make(arguments, "train")
