"""`greenllm meter`: run any command under the energy meter."""

import argparse

from greenllm.meter.command_runner import run_metered
from greenllm.meter.console import hold_closed_streams
from greenllm.meter.options import configure, options_of

__all__ = ["configure", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    hold_closed_streams()
    return run_metered(options_of(arguments))
