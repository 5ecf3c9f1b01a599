"""What is scheduled: activities with their needs, the course of a signal, limits; and the schedule found.

Times are whole milliseconds since the problem's earliest start, so that times can be compared exactly. The terms are
those of project scheduling with limited resources (Brucker et al. 1999, European Journal of Operational Research 112).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

MS = 1000  # milliseconds in a second

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Course:
    """A signal over time: `rates[i]`, a cost for each joule, holds from `edges[i]` to `edges[i + 1]` (ms)."""

    edges: Times
    rates: npt.NDArray[np.float64]

    @cached_property
    def _integral(self) -> npt.NDArray[np.float64]:
        sums: npt.NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(np.diff(self.edges) * self.rates)])
        return sums

    def mean(self, start: npt.ArrayLike, end: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the mean rate between times (ms), weighted by time; outside the course its first or last rate."""
        first, last = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        mean: npt.NDArray[np.float64] = (self._until(last) - self._until(first)) / np.maximum(last - first, 1e-9)
        return mean

    def _until(self, time: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        inside: npt.NDArray[np.float64] = np.interp(time, self.edges, self._integral)
        before = np.minimum(time - self.edges[0], 0) * self.rates[0]
        after = np.maximum(time - self.edges[-1], 0) * self.rates[-1]
        found: npt.NDArray[np.float64] = inside + before + after
        return found


@dataclass(frozen=True)
class Activity:
    """A job to schedule: it lasts `duration` ms and takes `power_W` meanwhile, after the activities in `after`.

    `uses` is what it takes of each resource. With `pieces` above 1 it may pause between equal pieces (at checkpoints);
    to go on it then needs `resume` ms more. `expected` is the part of `duration` that it is expected to need (ms; None:
    all of it): the rest is room for a longer run, and costs nothing.
    """

    name: str
    duration: int
    power_W: float
    after: tuple[str, ...] = ()
    uses: Mapping[str, float] = field(default_factory=dict)
    pieces: int = 1
    resume: int = 0
    expected: int | None = None

    @property
    def working(self) -> int:
        """How long it is expected to run (ms), without pauses."""
        return self.duration if self.expected is None else min(self.expected, self.duration)

    def as_expected(self, runs: Sequence["ActivityRun"]) -> "list[ActivityRun]":
        """Return its runs in a schedule, without the room at their end."""
        return lasting_as(runs, self.working + self.resume * (len(runs) - 1))

    @property
    def lengths(self) -> list[int]:
        """The lengths of its pieces (ms); their sum is the duration."""
        bounds = [round(self.duration * index / self.pieces) for index in range(self.pieces + 1)]
        return [end - start for start, end in itertools.pairwise(bounds)]


@dataclass(frozen=True)
class ActivityRun:
    """A stretch of time in which an activity runs (ms)."""

    start: int
    end: int


def lasting_as(runs: Sequence[ActivityRun], duration: int) -> list[ActivityRun]:
    """Return the runs cut to a length in all (ms); what is longer is room at the end of the last ones."""
    found: list[ActivityRun] = []
    left = duration
    for number, run in enumerate(runs):
        last = number == len(runs) - 1
        length = left if last else min(left, run.end - run.start)
        if length > 0 or not found:
            found.append(replace(run, end=run.start + max(length, 0)))
        left -= length
    return found


Runs = Mapping[str, Sequence[ActivityRun]]  # by activity, in order of time: several where it pauses


@dataclass(frozen=True)
class Problem:
    """Activities (each one behind those that it needs), the limits of resources, the deadline (ms) and the signal."""

    activities: Sequence[Activity]
    course: Course
    deadline: int
    limits: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Activity]:
        """The activities by name."""
        return {activity.name: activity for activity in self.activities}

    def cost(self, runs: Runs) -> float:
        """Return the cost of a schedule: the sum of each run's energy times the signal's mean over it.

        Runs count as long as they are expected to last.
        """
        return sum(self.cost_of(self.by_name[name], own) for name, own in runs.items())

    def cost_of(self, activity: Activity, runs: Sequence[ActivityRun]) -> float:
        """Return the cost of an activity's runs."""
        return sum(
            activity.power_W * (run.end - run.start) / MS * float(self.course.mean(run.start, run.end))
            for run in activity.as_expected(runs)
        )

    def keeps_limits(self, runs: Runs) -> bool:
        """Return whether a schedule keeps the limits of resources; a job alone may need more than there is."""
        changes = [
            change
            for name, own in runs.items()
            for run in own
            for change in ((run.start, 1, self.by_name[name]), (run.end, -1, self.by_name[name]))
        ]
        changes.sort(key=lambda change: change[:2])
        for resource, limit in self.limits.items():
            used = 0.0
            for _, sign, activity in changes:
                used += sign * min(activity.uses.get(resource, 0.0), limit)
                if used > limit * (1 + 1e-9):
                    return False
        return True
