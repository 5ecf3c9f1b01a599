"""Numbers within a range, as types of command-line options."""

import argparse
import math
from collections.abc import Callable

LARGEST_SEED = 2**32 - 1  # NumPy's and scikit-learn's bound


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return the type of an option whose value is a whole number from `least` to `most`, if there is a largest one."""
    expected = f"a whole number, {least} or more" if most is None else f"a whole number between {least} and {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return value

    return read


seed = whole_number(0, LARGEST_SEED)  # of a random generator


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
