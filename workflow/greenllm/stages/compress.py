"""`greenllm compress`: a step of a recipe that makes a smaller or faster model from a trained one."""

import argparse

from greenllm.stages import making


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    making.configure(parser, recipe=None)


def run(arguments: argparse.Namespace) -> int:
    """Compress; return 130 where the user interrupts."""
    return making.make(arguments, "compress")
