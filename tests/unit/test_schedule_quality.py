"""Schedules against exhaustive search, the deadline, and limits of resources."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from exhaustive_schedule import Job, cheapest_cost

from greenllm.scheduling.at_once import at_once, makespan
from greenllm.scheduling.problem import Activity, Course, Problem, Runs
from greenllm.scheduling.solver import cheapest

HOUR = 3_600_000
QUARTER = HOUR // 4


def course(hours: int, seed: int) -> Course:
    """A day and night with noise, in steps of an hour."""
    noise = np.random.default_rng(seed).normal(0, 40, hours)
    return Course(np.arange(hours + 1) * HOUR, 300 + 100 * np.sin(np.arange(hours) / 24 * 2 * np.pi) + noise)


def random_jobs(count: int, seed: int) -> list[Activity]:
    """A random graph of jobs of 15 minutes to 3 hours."""
    rng = np.random.default_rng(seed)
    return [
        Activity(
            f"job-{number}",
            int(rng.integers(1, 13)) * QUARTER,
            power_W=float(rng.uniform(20, 400)),
            after=tuple(f"job-{one}" for one in range(number) if rng.random() < 0.3),
            uses={"cores": float(rng.integers(1, 3)), "power_W": float(rng.uniform(50, 150))},
        )
        for number in range(count)
    ]


def least_cost(problem: Problem, slot: int) -> float:
    """Return the least cost of a schedule on whole slots, by trying all of them."""
    horizon = problem.deadline // slot
    bounds = np.arange(horizon) * slot
    rates = problem.course.mean(bounds, bounds + slot)
    numbers = {one.name: number for number, one in enumerate(problem.activities)}
    jobs = [
        Job(
            one.duration // slot,
            [one.power_W * slot / 1000 * float(rate) for rate in rates],
            [numbers[name] for name in one.after],
            one.uses,
        )
        for one in problem.activities
    ]
    return cheapest_cost(jobs, horizon, problem.limits)


def most_used(problem: Problem, runs: Runs, name: str) -> float:
    """Return the largest use of a resource at any time."""
    own = [(run, problem.by_name[activity]) for activity, found in runs.items() for run in found]
    return max(
        sum(activity.uses[name] for other, activity in own if other.start <= run.start < other.end) for run, _ in own
    )


def require_kept(problem: Problem, runs: Runs) -> None:
    """Assert that a schedule keeps the order of jobs, the deadline, all limits, and each job's length."""
    assert set(runs) == set(problem.by_name)
    for name, own in runs.items():
        activity = problem.by_name[name]
        assert sum(run.end - run.start for run in own) == activity.duration + activity.resume * (len(own) - 1)
        assert all(before.end < after.start for before, after in itertools.pairwise(own))
        assert all(runs[before][-1].end <= own[0].start for before in activity.after)
        assert own[0].start >= 0
    assert makespan(runs) <= problem.deadline
    for name, limit in problem.limits.items():
        assert most_used(problem, runs, name) <= limit + 1e-6


@pytest.mark.parametrize("limits", [{}, {"cores": 2.0}, {"cores": 4.0, "power_W": 300.0}], ids=str)
@pytest.mark.parametrize(("count", "seed"), [(3, 1), (5, 2), (7, 3), (9, 4), (12, 5)])
def test_saves_as_much_as_exhaustive_search(count: int, seed: int, limits: Mapping[str, float]) -> None:
    activities = random_jobs(count, seed)
    plain = at_once(activities, limits)
    slack = (20 if count < 9 else 8) * QUARTER
    deadline = -(-makespan(plain) // QUARTER) * QUARTER + slack
    problem = Problem(activities, course(deadline // HOUR + 1, seed), deadline, limits)
    found = cheapest(problem)
    require_kept(problem, found.runs)
    best = problem.cost(plain) - least_cost(problem, QUARTER)
    assert best > 0
    assert problem.cost(plain) - found.cost >= 0.99 * best
