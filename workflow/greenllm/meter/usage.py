"""Whether a job used the GPU that it held, by its memory: that works in containers, where NVML lists no processes."""

from collections.abc import Iterable
from typing import Self

# A process that computes on a GPU has a context there, which takes more than this (usually about 100 MiB); the driver
# alone takes less.
CONTEXT_B = 16 * 2**20
# One reading before the job, one after it, and three in between: a context exists as long as its process.
LEAST_READINGS = 5


class MemoryUse:
    """The memory used on a GPU while a job held it, in bytes: the bounds of all readings."""

    def __init__(self) -> None:
        """Begin without a reading."""
        self._least_B, self._most_B, self._readings = float("inf"), float("-inf"), 0

    @classmethod
    def of(cls, readings_B: Iterable[float]) -> Self:
        """Return the bounds of these readings, in bytes; one that failed is NaN."""
        found = cls()
        for reading_B in readings_B:
            found.add(reading_B)
        return found

    def add(self, reading_B: float | None) -> None:
        """Add a reading; None or NaN where it failed."""
        if reading_B is None or reading_B != reading_B:
            return
        self._least_B, self._most_B = min(self._least_B, reading_B), max(self._most_B, reading_B)
        self._readings += 1

    @property
    def used(self) -> bool | None:
        """Whether a process computed there; None where too few readings leave it unknown."""
        if self._readings and self._most_B - self._least_B >= CONTEXT_B:
            return True
        return False if self._readings >= LEAST_READINGS else None
