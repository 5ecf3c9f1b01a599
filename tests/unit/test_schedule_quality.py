"""Schedules against exhaustive search, the deadline, and limits of resources."""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from exhaustive_schedule import Job, cheapest_cost
from simulated_grid import Case, forecast, year

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


@pytest.mark.parametrize(("count", "seed"), [(3, 1), (5, 2), (7, 3), (9, 4), (12, 5), (12, 6)])
def test_saves_as_much_as_exhaustive_search(count: int, seed: int) -> None:
    activities = random_jobs(count, seed)
    plain = at_once(activities, {})
    deadline = -(-makespan(plain) // QUARTER) * QUARTER + (20 if count < 9 else 8) * QUARTER
    require_best(Problem(activities, course(deadline // HOUR + 1, seed), deadline), plain, QUARTER)


@pytest.mark.parametrize("limits", [{"cores": 2.0}, {"cores": 4.0, "power_W": 300.0}], ids=str)
@pytest.mark.parametrize(("count", "seed", "slack"), [(3, 1, 6), (5, 2, 5), (7, 3, 4), (9, 4, 2), (12, 5, 1)])
def test_saves_as_much_as_exhaustive_search_within_limits(
    count: int, seed: int, slack: int, limits: Mapping[str, float]
) -> None:
    activities = [replace(one, duration=-(-one.duration // HOUR) * HOUR) for one in random_jobs(count, seed)]
    plain = at_once(activities, limits)
    deadline = makespan(plain) + slack * HOUR
    require_best(Problem(activities, course(deadline // HOUR, seed), deadline, limits), plain, HOUR)


def require_best(problem: Problem, plain: Runs, slot: int) -> None:
    """Assert that at least 99 % of the saving is found that exhaustive search over slots (ms) finds."""
    found = cheapest(problem, time_limit_s=8)
    require_kept(problem, found.runs)
    best = problem.cost(plain) - least_cost(problem, slot)
    assert best > 0
    assert problem.cost(plain) - found.cost >= 0.99 * best


@pytest.mark.parametrize("interruptible", [False, True])
def test_saves_what_an_oracle_saves_on_days_of_a_year(interruptible: bool) -> None:
    """`benchmarks/schedule.py` does all days, and weeks as well."""
    case, carbon = Case(8, 24, interruptible), year()
    rng = np.random.default_rng(1)
    days = [carbon[begin : begin + 24] for begin in range(0, len(carbon), 24 * 30)][:12]
    most = sum(case.most(day) for day in days)
    assert sum(case.saving(day, day) for day in days) >= 0.98 * most
    by_forecast = sum(case.saving(forecast(day, rng), day) for day in days)
    assert 0.6 * most < by_forecast <= most


def test_the_makespan_without_a_policy_is_kept_and_slack_is_used() -> None:
    with_slack = 0
    for seed in range(12):
        activities = random_jobs(8, seed)
        plain = at_once(activities, {})
        problem = Problem(activities, course(makespan(plain) // HOUR + 1, seed), makespan(plain))
        found = cheapest(problem)
        require_kept(problem, found.runs)
        best, saved = problem.cost(plain) - least_cost(problem, QUARTER), problem.cost(plain) - found.cost
        with_slack += best > 0
        assert saved >= 0.99 * best
        assert (saved > 0) == (best > 0)
    assert with_slack >= 6


def test_a_pause_is_made_only_where_it_pays() -> None:
    rates = np.array([100.0, 900.0, 100.0, 900.0])
    whole = Activity("train", 2 * HOUR, 100.0, pieces=2, uses={"power_W": 100.0})
    for resume, runs in ((0, 2), (HOUR // 60, 2), (HOUR * 95 // 100, 1)):
        problem = Problem([replace(whole, resume=resume)], Course(np.arange(5) * HOUR, rates), 4 * HOUR)
        found = cheapest(problem)
        require_kept(problem, found.runs)
        assert len(found.runs["train"]) == runs
