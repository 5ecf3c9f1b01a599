"""Numbers within a range, as types of command-line options."""

import argparse
import math
from collections.abc import Callable

LARGEST_SEED = 2**32 - 1  # NumPy's and scikit-learn's bound


def whole_number(least: int) -> Callable[[str], int]:
    """Return the type of an option whose value is a whole number from `least`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, {least} or more")
        return value

    return read


def seed(text: str) -> int:
    """The type of an option whose value is the seed of a random generator."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number between 0 and {LARGEST_SEED}")
    return value


def number(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Return the type of an option whose value, in this unit, is a number from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {unit} between {least:g} and {most:g}")
        return value

    return read
