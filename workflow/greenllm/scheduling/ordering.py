"""A problem with limits turned into one without: jobs that shared a resource keep their order.

Whatever the starts that keep this order, no limit is exceeded (partial order schedules by chaining: Policella et al.
2004, ICAPS). Without limits the solver is fast.
"""

from collections.abc import Mapping
from dataclasses import replace

from greenllm.scheduling.problem import Problem, Runs


def ordered_as(problem: Problem, runs: Runs) -> Problem:
    """Return the problem without limits, in which a job also follows those whose resources it takes over in `runs`."""
    start = {name: own[0].start for name, own in runs.items()}
    place = {activity.name: index for index, activity in enumerate(problem.activities)}
    in_time = sorted(problem.activities, key=lambda one: (start[one.name], place[one.name]))
    after = {activity.name: dict.fromkeys(activity.after) for activity in in_time}
    for name, limit in problem.limits.items():
        free: list[tuple[str | None, float]] = [(None, limit)]  # who left how much of the resource
        for activity in in_time:
            needed = min(activity.uses.get(name, 0.0), limit)
            known = after[activity.name]
            left = []
            # From those that it follows anyway, then from those that end last: the others are kept for later jobs.
            for owner, amount in sorted(free, key=lambda one: _rank(one[0], known, runs)):
                taken = min(amount, needed) if owner is None or runs[owner][-1].end <= start[activity.name] else 0.0
                needed -= taken
                if taken and owner is not None:
                    known[owner] = None
                if amount - taken > 1e-9 * limit:
                    left.append((owner, amount - taken))
            own = min(activity.uses.get(name, 0.0), limit)
            free = [*left, (activity.name, own)] if own else left
    return replace(
        problem,
        activities=[replace(activity, after=tuple(after[activity.name])) for activity in in_time],
        limits={},
    )


def _rank(owner: str | None, known: Mapping[str, None], runs: Runs) -> tuple[bool, int]:
    return owner not in known and owner is not None, 0 if owner is None else -runs[owner][-1].end
