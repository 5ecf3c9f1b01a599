"""`greenllm meter`: run any command under the energy meter."""

import argparse

from greenllm.meter.options import configure, options_of
from greenllm.meter.run import run_metered

__all__ = ["configure", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return run_metered(options_of(arguments))
