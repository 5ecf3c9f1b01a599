"""The schedule without a policy: each job starts as soon as the jobs before it are done and resources are free."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence

from greenllm.scheduling.problem import Activity, ActivityRun, Runs

Uses = tuple[float, ...]  # of each limited resource, in the order of the limits


class _Ready:
    """The jobs that could start, the first of the list first; those that use the same are kept together."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self._free = [limit * (1 + 1e-9) for limit in limits.values()]
        self._alike: dict[Uses, list[int]] = defaultdict(list)

    def uses(self, activity: Activity) -> Uses:
        """Return what an activity uses of each resource; no more than there is."""
        return tuple(min(activity.uses.get(name, 0.0), limit) for name, limit in self._limits.items())

    def add(self, place: int, uses: Uses) -> None:
        heapq.heappush(self._alike[uses], place)

    def take(self) -> int | None:
        """Start the first job that fits; return its place, None if none fits."""
        fitting = [
            (places[0], uses)
            for uses, places in self._alike.items()
            if all(use <= free or not use for use, free in zip(uses, self._free, strict=True))
        ]
        if not fitting:
            return None
        place, uses = min(fitting)
        heapq.heappop(self._alike[uses])
        if not self._alike[uses]:
            del self._alike[uses]
        self._free = [free - use for free, use in zip(self._free, uses, strict=True)]
        return place

    def give_back(self, uses: Uses) -> None:
        self._free = [free + use for free, use in zip(self._free, uses, strict=True)]


def at_once(activities: Sequence[Activity], limits: Mapping[str, float]) -> Runs:
    """Return the schedule that starts jobs in their order, as soon as they may start.

    A job that needs more of a resource than there is takes all of it. Raises ValueError if jobs wait for each other.
    """
    ready = _Ready(limits)
    uses = [ready.uses(activity) for activity in activities]
    behind: dict[str, list[int]] = defaultdict(list)
    missing = [len(set(activity.after)) for activity in activities]
    for place, activity in enumerate(activities):
        for name in set(activity.after):
            behind[name].append(place)
        if not missing[place]:
            ready.add(place, uses[place])
    runs: dict[str, Sequence[ActivityRun]] = {}
    running: list[tuple[int, int]] = []
    time = 0
    while True:
        while (first := ready.take()) is not None:
            run = ActivityRun(time, time + activities[first].duration)
            runs[activities[first].name] = [run]
            heapq.heappush(running, (run.end, first))
        if not running:
            break
        time = running[0][0]
        while running and running[0][0] == time:
            _, place = heapq.heappop(running)
            ready.give_back(uses[place])
            for following in behind[activities[place].name]:
                missing[following] -= 1
                if not missing[following]:
                    ready.add(following, uses[following])
    if len(runs) < len(activities):
        raise ValueError("jobs wait for each other, or for one that is not there")
    return runs


def makespan(runs: Runs) -> int:
    """Return when the last run ends (ms)."""
    return max((own[-1].end for own in runs.values()), default=0)
