"""The grid's carbon over time, as this room needs it from a recorded series."""

import datetime
from collections.abc import Sequence
from typing import Protocol


class GridCourse(Protocol):
    """A series of the grid's carbon intensity in gCO2e/kWh."""

    def mean_between(self, start: datetime.datetime, end: datetime.datetime) -> tuple[float | None, float]:
        """Return the mean between two times, and the share of that time that the series covers (None with 0)."""


def relative_to_year(
    course: GridCourse, times: Sequence[tuple[datetime.datetime, datetime.datetime]], year_g_per_kWh: float
) -> list[tuple[float, float]]:
    """Return the carbon intensity of each time over the year's mean, and the share that the series covers.

    The year's mean is used for what the series leaves out.
    """
    found = []
    for start, end in times:
        mean, covered = course.mean_between(start, end)
        ratio = covered * (mean or 0.0) / year_g_per_kWh + (1 - covered)
        found.append((ratio, covered))
    return found
