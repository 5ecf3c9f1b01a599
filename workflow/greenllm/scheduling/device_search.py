"""Which device each job runs on, so that all together cost least within the deadline.

Differential evolution over the devices (Storn and Price 1997, Journal of Global Optimization 11; scipy), from and to a
search from job to job, in which each change of one job's device, or of two, that costs less is taken. A choice is
judged by the schedule that starts jobs as soon as possible, moved as a whole to the best time.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import differential_evolution

from greenllm.scheduling.devices import Mode

TIME_LIMIT_S = 10.0  # of one search
GENERATIONS = 60
LATE = 1e15  # for each ms of a schedule that is late: more than any cost

Choice = dict[str, Mode]
# Returns the cost and the makespan of a choice; the cost is infinite where it is not done by the deadline.
Judge = Callable[[Mapping[str, Mode]], tuple[float, int]]


def cheapest_choice(modes: Mapping[str, Sequence[Mode]], judge: Judge) -> Choice:
    """Return the choice with the least cost found; where none keeps the deadline, that of the first modes.

    The search starts from the first modes, and from those with the least energy, with which the deadline is then kept
    by the change that costs the least energy for each second.
    """
    search = _Search(modes, judge)
    first = {name: own[0] for name, own in modes.items()}
    least = {name: min(own, key=lambda mode: mode.expected.energy_J.value) for name, own in modes.items()}
    starts = [search.improved(start) for start in (first, search.in_time(least)) if start is not None]
    best = min(starts, key=lambda choice: search.judged(choice)[0])
    evolved = search.improved(search.evolved(best))
    return min((best, evolved), key=lambda choice: search.judged(choice)[0])


class _Search:
    def __init__(self, modes: Mapping[str, Sequence[Mode]], judge: Judge) -> None:
        self._modes, self._judge = modes, judge
        self._until_s = time.monotonic() + TIME_LIMIT_S
        self._known: dict[tuple[str, ...], tuple[float, int]] = {}

    def judged(self, choice: Choice) -> tuple[float, int]:
        key = tuple(mode.device for mode in choice.values())
        if key not in self._known:
            self._known[key] = self._judge(choice)
        return self._known[key]

    def in_time(self, choice: Choice) -> Choice | None:
        """Return the choice, changed until it keeps the deadline; None if that fails."""
        while math.isinf(self.judged(choice)[0]):
            _, makespan = self.judged(choice)
            faster = []
            for name, mode in self._others(choice):
                if self._is_over():
                    return None
                cost, until = self.judged(choice | {name: mode})
                if until < makespan or math.isfinite(cost):
                    more_J = mode.expected.energy_J.value - choice[name].expected.energy_J.value
                    faster.append((more_J / max(makespan - until, 1), name, mode))
            if not faster:
                return None
            _, name, mode = min(faster, key=lambda one: one[:2])
            choice = choice | {name: mode}
        return choice

    def improved(self, choice: Choice) -> Choice:
        """Return the choice after all changes of one job, then of two, that cost less."""
        better = True
        while better and not self._is_over():
            better = False
            singles = list(self._others(choice))
            for changes in itertools.chain(((one,) for one in singles), itertools.combinations(singles, 2)):
                changed = choice | dict(changes)
                if self._is_over():
                    break
                if self.judged(changed)[0] < self.judged(choice)[0]:
                    choice, better = changed, True
                    break
        return choice

    def evolved(self, start: Choice) -> Choice:
        """Return the best choice that differential evolution finds, from this one and random ones."""
        names = list(self._modes)

        def choice_of(numbers: npt.NDArray[np.float64]) -> Choice:
            return {name: self._modes[name][round(number)] for name, number in zip(names, numbers, strict=True)}

        def value(numbers: npt.NDArray[np.float64]) -> float:
            cost, until = self.judged(choice_of(numbers))
            return cost if math.isfinite(cost) else LATE * until

        found = differential_evolution(
            value,
            [(0, len(self._modes[name]) - 1) for name in names],
            integrality=np.ones(len(names), dtype=bool),
            x0=[self._modes[name].index(start[name]) for name in names],
            rng=1,
            tol=0.0,
            maxiter=GENERATIONS,
            polish=False,
            callback=lambda intermediate_result: self._is_over(),
        )
        return choice_of(found.x)

    def _is_over(self) -> bool:
        return time.monotonic() > self._until_s

    def _others(self, choice: Choice) -> list[tuple[str, Mode]]:
        return [(name, mode) for name, own in self._modes.items() for mode in own if mode is not choice[name]]
