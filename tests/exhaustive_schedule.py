"""The cheapest schedule by exhaustive search over whole slots, independent of the solver; for a handful of jobs.

All starts on the grid are tried, job by job in order; a branch is left where even the cheapest starts of the jobs that
are still open cost more than the best schedule found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job of some slots, with the cost of each slot in which it runs, the jobs before it (numbers), and its uses."""

    slots: int
    costs: Sequence[float]
    before: Sequence[int]
    uses: Mapping[str, float]


def cheapest_cost(jobs: Sequence[Job], horizon: int, limits: Mapping[str, float]) -> float:
    """Return the least cost of a schedule of jobs, each behind those that it needs, within `horizon` slots."""
    latest = [horizon - job.slots for job in jobs]
    for number in reversed(range(len(jobs))):
        for before in jobs[number].before:
            latest[before] = min(latest[before], latest[number] - jobs[before].slots)
    at = [[sum(job.costs[start : start + job.slots]) for start in range(horizon - job.slots + 1)] for job in jobs]
    free = {name: [limit] * horizon for name, limit in limits.items()}
    starts: list[int] = []
    best = math.inf

    def earliest_of(number: int, known: Sequence[int]) -> int:
        return max((known[one] + jobs[one].slots for one in jobs[number].before), default=0)

    def least_of_the_rest() -> float:
        known, least = list(starts), 0.0
        for number in range(len(starts), len(jobs)):
            earliest = earliest_of(number, known)
            if earliest > latest[number]:
                return math.inf
            known.append(earliest)
            least += min(at[number][earliest : latest[number] + 1])
        return least

    def search(cost: float) -> None:
        nonlocal best
        if cost + least_of_the_rest() >= best - 1e-12:
            return
        if len(starts) == len(jobs):
            best = cost
            return
        number = len(starts)
        job = jobs[number]
        for start in sorted(range(earliest_of(number, starts), latest[number] + 1), key=at[number].__getitem__):
            slots = range(start, start + job.slots)
            if any(free[name][slot] < job.uses.get(name, 0.0) - 1e-9 for name in limits for slot in slots):
                continue
            for name in limits:
                for slot in slots:
                    free[name][slot] -= job.uses.get(name, 0.0)
            starts.append(start)
            search(cost + at[number][start])
            starts.pop()
            for name in limits:
                for slot in slots:
                    free[name][slot] += job.uses.get(name, 0.0)

    search(0.0)
    return best
