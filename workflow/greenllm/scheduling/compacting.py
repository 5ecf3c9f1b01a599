"""Jobs of a schedule moved to an earlier start that costs no more: the solver does not care which of equal starts."""

from collections.abc import Iterator

from greenllm.scheduling.problem import Activity, ActivityRun, Problem, Runs

MOST_ACTIVITIES = 300  # of more, the schedule stays as it is: each start is tried against all limits
EQUAL = 1e-9  # of a cost


def compacted(problem: Problem, runs: Runs) -> Runs:
    """Return the schedule with each job that does not pause at the first of its starts that costs no more."""
    if len(problem.activities) > MOST_ACTIVITIES:
        return runs
    found = {name: list(own) for name, own in runs.items()}
    for activity in sorted(problem.activities, key=lambda one: runs[one.name][0].start):
        (run, *more) = found[activity.name]
        if more:
            continue
        cost = problem.cost_of(activity, [run])
        for start in _starts(problem, activity, found, run.start):
            moved = ActivityRun(start, start + run.end - run.start)
            found[activity.name] = [moved]
            if problem.cost_of(activity, [moved]) <= cost + EQUAL * abs(cost) and problem.keeps_limits(found):
                break
            found[activity.name] = [run]
    return found


def _starts(problem: Problem, activity: Activity, runs: Runs, latest: int) -> Iterator[int]:
    """Yield the starts before `latest` that are worth a try: after the jobs before it, at steps, when others end."""
    earliest = max((runs[name][-1].end for name in activity.after), default=0)
    ends = {own[-1].end for own in runs.values()} if problem.limits else set()
    for start in sorted({earliest, *problem.course.edges.tolist(), *ends}):
        if earliest <= start < latest:
            yield int(start)
