"""The schedule without a policy: each job starts as soon as the jobs before it are done and resources are free."""

from collections.abc import Mapping, Sequence

from greenllm.scheduling.problem import Activity, Run, Runs


def at_once(activities: Sequence[Activity], limits: Mapping[str, float], begin: int = 0) -> Runs:
    """Return the schedule that starts jobs in their order, as soon as they may start, from `begin` (ms) on.

    A job that needs more of a resource than there is waits until nothing else uses it.
    """
    waiting = list(activities)
    running: dict[str, tuple[int, Activity]] = {}
    done: set[str] = set()
    runs: dict[str, Sequence[Run]] = {}
    time = begin
    while waiting or running:
        for activity in list(waiting):
            if done.issuperset(activity.after) and _fits(activity, [one for _, one in running.values()], limits):
                end = time + activity.duration
                runs[activity.name] = [Run(time, end)]
                running[activity.name] = end, activity
                waiting.remove(activity)
        if not running:
            raise ValueError(f"jobs wait for each other: {', '.join(one.name for one in waiting)}")
        time = min(end for end, _ in running.values())
        for name in [name for name, (end, _) in running.items() if end <= time]:
            done.add(name)
            del running[name]
    return runs


def _fits(activity: Activity, running: Sequence[Activity], limits: Mapping[str, float]) -> bool:
    return not running or all(
        activity.uses.get(name, 0.0) + sum(one.uses.get(name, 0.0) for one in running) <= limit * (1 + 1e-9)
        or not activity.uses.get(name)
        for name, limit in limits.items()
    )


def makespan(runs: Runs) -> int:
    """Return when the last run ends (ms)."""
    return max((own[-1].end for own in runs.values()), default=0)
