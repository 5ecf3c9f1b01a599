"""The times at which a job may start that the solver chooses from.

The cost of a start is linear between the times at which the job's start or expected end meets a step of the signal.
So an optimal schedule exists in which each group of jobs that follow each other without a gap starts or ends at such a
step, at the earliest start or at the deadline. The candidates are those times, shifted by the lengths of what comes
before and after, and a regular grid besides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from greenllm.scheduling.at_once import at_once
from greenllm.scheduling.problem import Activity, Problem, Times

GRID_STEPS = 96  # of the regular grid: a day in quarters of an hour
MOST_WITH_WAYS = 300  # activities: their number grows with the square
FEWEST = 8  # candidates of an activity, at least


@dataclass(frozen=True)
class Window:
    """The first and the last start of an activity that order and deadline allow, and that without a policy (ms).

    `before` has the longest ways from the starts of those before it to its own start; in large problems there are none.
    """

    earliest: int
    latest: int
    planned: int
    before: Sequence[int] = ()


def windows(problem: Problem) -> list[Window]:
    """Return the window of each activity."""
    plain = at_once(problem.activities, problem.limits)
    earliest: dict[str, int] = {}
    latest: dict[str, int] = {}
    for activity in problem.activities:
        ends = (earliest[name] + problem.by_name[name].duration for name in activity.after)
        earliest[activity.name] = max(ends, default=0)
    for activity in reversed(problem.activities):
        latest.setdefault(activity.name, problem.deadline - activity.duration)
        for name in activity.after:
            start = latest[activity.name] - problem.by_name[name].duration
            latest[name] = min(latest.get(name, start), start)
    before = _ways(problem) if len(problem.activities) <= MOST_WITH_WAYS else {}
    return [
        Window(
            earliest[one.name],
            latest[one.name],
            plain[one.name][0].start,
            sorted(set(before.get(one.name, {}).values())),
        )
        for one in problem.activities
    ]


def _ways(problem: Problem) -> dict[str, dict[str, int]]:
    """Return for each activity, by those before it, the longest way from the start of that one to its own start."""
    found: dict[str, dict[str, int]] = {}
    for activity in problem.activities:
        own: dict[str, int] = {}
        for direct in activity.after:
            for one, length in (*found[direct].items(), (direct, 0)):
                own[one] = max(own.get(one, 0), length + problem.by_name[direct].duration)
        found[activity.name] = own
    return found


def candidates(problem: Problem, found: Sequence[Window], most: int, *, fine: bool = True) -> list[Times]:
    """Return for each activity the times at which it may start, sorted; with its pieces they are about `most` together.

    Without `fine` there is no regular grid among them. A piece that is not the first may start at these times plus the
    lengths of the pieces before it. The starts of the schedule without a policy are among them, so there is always a
    solution.
    """
    edges = problem.course.edges
    steps = np.unique([0, problem.deadline, *edges[(edges > 0) & (edges < problem.deadline)]])
    grid = np.linspace(0, problem.deadline, GRID_STEPS + 1).round().astype(np.int64)
    share = max(most // max(sum(one.pieces for one in problem.activities), 1), FEWEST)
    return [
        _thinned(
            problem,
            activity,
            window,
            share,
            _families(activity, window, problem.deadline, steps, grid if fine else steps[:0]),
        )
        for activity, window in zip(problem.activities, found, strict=True)
    ]


def _thinned(problem: Problem, activity: Activity, window: Window, share: int, families: Iterator[Times]) -> Times:
    """Return the times of the families that are in the window.

    Of the last one that has room only some: the cheapest ones, and others at equal distances.
    """
    chosen = np.unique([window.planned, window.earliest, window.latest])
    for family in families:
        more = np.setdiff1d(family[(family >= window.earliest) & (family <= window.latest)], chosen)
        room = share - len(chosen)
        if len(more) > room:
            cheap = np.argsort(problem.course.mean(more, more + max(activity.working, 1)), kind="stable")[: room // 2]
            evenly = np.linspace(0, len(more) - 1, room - len(cheap)).round().astype(int)
            more = more[np.unique(np.concatenate([cheap, evenly]))]
        chosen = np.concatenate([chosen, more])
        if len(chosen) >= share:
            break
    return np.unique(chosen).astype(np.int64)


def _families(activity: Activity, window: Window, deadline: int, steps: Times, grid: Times) -> Iterator[Times]:
    """Yield sets of times, the most useful first."""
    yield steps + window.earliest  # what comes before it starts at a step
    yield steps - (deadline - window.latest)  # what comes after it ends at a step
    # A piece starts at a step, or the last one ends there, as planned or as expected.
    for length in dict.fromkeys((0, activity.working, *accumulate(activity.lengths))):
        yield steps - length
    yield steps + window.planned
    yield grid + window.earliest
    yield grid
    for length in window.before:  # one of those before it starts at a step
        yield steps + length
