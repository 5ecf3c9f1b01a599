"""A year of a grid's carbon, hour by hour, in the shape of real ones, with forecasts; and what an oracle would save.

The shape: demand with a morning and an evening peak and quiet weekends, a dip around noon that is deep in summer (sun),
and wind that changes over days (an autoregressive process with a correlation time of 30 h).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenllm.scheduling.problem import Activity, Course, Problem
from greenllm.scheduling.solver import cheapest

HOUR = 3_600_000  # ms
HOURS = 365 * 24
Hours = npt.NDArray[np.float64]


def year(seed: int = 1) -> Hours:
    """Return the carbon of each hour of a year in gCO2e/kWh."""
    rng = np.random.default_rng(seed)
    hour = np.arange(HOURS)
    of_day, day = hour % 24, hour // 24
    peaks = np.exp(-(((of_day - 8) / 3) ** 2)) + 1.3 * np.exp(-(((of_day - 19) / 3) ** 2))
    summer = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 10) / 365)
    sun = np.exp(-(((of_day - 13) / 3.5) ** 2)) * (0.3 + 0.7 * summer)
    weekend = np.where(day % 7 >= 5, -40.0, 0.0)
    wind = _wandering(rng, HOURS, 30.0)
    return np.clip(330 + 60 * peaks - 130 * sun + weekend + 70 * wind + rng.normal(0, 8, HOURS), 30, 900)


def forecast(truth: Hours, rng: np.random.Generator) -> Hours:
    """Return a forecast of hours to come: its error grows to 12 % within two days, and wanders."""
    ahead = np.arange(len(truth))
    spread = 0.03 + 0.09 * np.minimum(ahead / 48, 1)
    return np.maximum(truth * (1 + spread * _wandering(rng, len(truth), 12.0)), 1.0)


def _wandering(rng: np.random.Generator, count: int, hours: float) -> Hours:
    kept = np.exp(-1 / hours)
    found = np.empty(count)
    level = rng.normal()
    for index in range(count):
        found[index] = level
        level = kept * level + np.sqrt(1 - kept**2) * rng.normal()
    return found


@dataclass(frozen=True)
class Case:
    """A job of `needed` hours that has to be done within `within` hours."""

    needed: int
    within: int
    interruptible: bool

    def saving(self, known: Hours, truth: Hours) -> float:
        """Return what the solver's schedule by the signal `known` saves by the `truth`, in hours times gCO2e/kWh."""
        job = Activity("job", self.needed * HOUR, 1000.0, pieces=self.needed if self.interruptible else 1)
        edges = np.arange(self.within + 1) * HOUR
        runs = cheapest(Problem([job], Course(edges, known), self.within * HOUR)).runs["job"]
        course = Course(edges, truth)
        spent = sum(float(course.mean(run.start, run.end)) * (run.end - run.start) / HOUR for run in runs)
        assert sum(run.end - run.start for run in runs) == self.needed * HOUR
        assert runs[-1].end <= self.within * HOUR
        return float(truth[: self.needed].sum()) - spent

    def most(self, truth: Hours) -> float:
        """Return what can be saved with perfect knowledge: all starts tried, or the cheapest hours taken.

        The signal changes at whole hours, so no start between two of them is better than both.
        """
        if self.interruptible:
            best = float(np.sort(truth)[: self.needed].sum())
        else:
            best = float(np.lib.stride_tricks.sliding_window_view(truth, self.needed).sum(axis=1).min())
        return float(truth[: self.needed].sum()) - best
