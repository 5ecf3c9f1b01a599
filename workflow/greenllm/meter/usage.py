"""Whether a job used the GPU that it held: its memory says so, in a container too, where NVML lists no processes."""

from collections.abc import Iterable
from typing import Self

# Whoever computes on a GPU has a context there, which takes more than this (some 100 MiB as a rule); what the driver
# does by itself takes less.
CONTEXT_B = 16 * 2**20
# One reading before the job, one after it, and so many in between: a context is there for as long as its process is.
LEAST_READINGS = 5


class MemoryUse:
    """The memory used on a GPU while a job held it, in bytes: the bounds of all readings."""

    def __init__(self) -> None:
        """Begin without a reading."""
        self._least_B, self._most_B, self._readings = float("inf"), float("-inf"), 0

    @classmethod
    def of(cls, readings_B: Iterable[float]) -> Self:
        """Return what these readings show, in bytes; one that failed is NaN."""
        found = cls()
        for reading_B in readings_B:
            found.add(reading_B)
        return found

    def add(self, reading_B: float | None) -> None:
        """Take in a reading; None or NaN where it failed."""
        if reading_B is None or reading_B != reading_B:
            return
        self._least_B, self._most_B = min(self._least_B, reading_B), max(self._most_B, reading_B)
        self._readings += 1

    @property
    def used(self) -> bool | None:
        """Whether something computed there; None where that is unknown: too few readings."""
        if self._readings and self._most_B - self._least_B >= CONTEXT_B:
            return True
        return False if self._readings >= LEAST_READINGS else None
