"""`greenllm compress`: a step of a recipe that makes a smaller or faster model from a trained one."""

import argparse

from greenllm.stages import recipe_step


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    recipe_step.configure(parser, recipe=None)


def run(arguments: argparse.Namespace) -> int:
    """Compress; return 130 where the user interrupts."""
    return recipe_step.make(arguments, "compress")
