"""`greenllm train`: a step of a recipe that learns from prepared data: train, distil, adapt."""

import argparse

from greenllm.stages import making


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    making.configure(parser, recipe="{train: {}}")


def run(arguments: argparse.Namespace) -> int:
    """Train; return 130 where the user interrupts."""
    return making.make(arguments, "train")
