"""The cheapest schedule, as a mixed-integer program that HiGHS solves (through scipy).

The program is time-indexed in its step form: a variable for each piece and candidate says whether the piece has started
by then. Without limits of resources its relaxation has whole numbers as solution (Möhring et al. 2003, Management
Science 49: the matrix is a network's), so most of the work is left to linear programming.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from greenllm.scheduling.at_once import at_once, makespan
from greenllm.scheduling.candidates import GRID_STEPS, candidates, windows
from greenllm.scheduling.compacting import compacted
from greenllm.scheduling.ordering import ordered_as
from greenllm.scheduling.problem import MS, Activity, ActivityRun, Problem, Runs, Times

MOST_CANDIDATES = 12_000  # of all pieces together, if each has few at least: some seconds of solving
# With limits of resources, which make the program much harder.
MOST_LIMITED_PIECES, MOST_LIMITED_CANDIDATES = 40, 1_000
TIME_LIMIT_S = 10.0
GAP = 5e-5  # of the cost, at which a solution counts as optimal
EARLIER = 1e-7  # of the cost: what a start at the end of the horizon costs more, so that jobs don't wait for nothing


@dataclass(frozen=True)
class Solution:
    """A schedule with its cost; no schedule on the same candidates costs less than `bound`."""

    runs: Runs
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """By which share of its cost (of its size, where prices are negative) another one may be cheaper; at most 1."""
        cheaper = max(0.0, self.cost - self.bound)
        return min(1.0, cheaper / abs(self.cost)) if self.cost else float(cheaper > 0)


def cheapest(problem: Problem, *, time_limit_s: float = TIME_LIMIT_S) -> Solution:
    """Return the cheapest schedule found that keeps order, limits and deadline; at worst that without a policy.

    The schedule without a policy must keep the deadline. Where limits of resources matter, jobs first keep the order
    of several simple schedules, which is solved fast; a small problem is then solved without that restriction, for at
    most `time_limit_s`.
    """
    plain = at_once(problem.activities, problem.limits)
    if not problem.activities:
        return Solution({}, 0.0, 0.0)
    best = shifted(problem, plain)
    relaxed = _solved(replace(problem, limits={}), MOST_CANDIDATES, time_limit_s) or best
    if problem.keeps_limits(relaxed.runs):
        return _compact(problem, _better(best, relaxed), relaxed.bound)
    for runs in (plain, at_once(_in_order_of(problem, relaxed.runs), problem.limits)):
        ordered = ordered_as(problem, runs)
        if makespan(at_once(ordered.activities, {})) <= problem.deadline:
            best = _better(best, _solved(ordered, MOST_CANDIDATES, time_limit_s))
    bound = relaxed.bound
    if sum(activity.pieces for activity in problem.activities) <= MOST_LIMITED_PIECES:
        for fine in (False, True):
            limited = _solved(problem, MOST_LIMITED_CANDIDATES, time_limit_s / 2, fine=fine)
            best = _better(best, limited)
        bound = bound if limited is None else max(bound, limited.bound)
    return _compact(problem, best, bound)


def _compact(problem: Problem, best: Solution, bound: float) -> Solution:
    runs = compacted(problem, best.runs)
    return Solution(runs, problem.cost(runs), bound)


def shifted(problem: Problem, runs: Runs) -> Solution:
    """Return a schedule moved as a whole to where it costs least, keeping the deadline."""
    own = [
        (run, activity.power_W)
        for name, found in runs.items()
        for activity in (problem.by_name[name],)
        for run in activity.as_expected(found)
    ]
    starts, ends = (np.array([getattr(run, bound) for run, _ in own]) for bound in ("start", "end"))
    joules = np.array([power_W for _, power_W in own]) * (ends - starts) / MS
    room = problem.deadline - makespan(runs)
    shifts = np.unique([0, *problem.course.edges, *np.linspace(0, room, GRID_STEPS + 1).round().astype(np.int64)])
    costs = {
        int(shift): float(joules @ problem.course.mean(starts + shift, ends + shift))
        for shift in shifts[(shifts >= 0) & (shifts <= room)]
    }
    by = min(costs, key=lambda shift: (costs[shift], shift))
    moved = {name: [ActivityRun(run.start + by, run.end + by) for run in found] for name, found in runs.items()}
    return Solution(moved, problem.cost(moved), -np.inf)


def _better(one: Solution, other: Solution | None) -> Solution:
    return other if other is not None and other.cost < one.cost else one


def _in_order_of(problem: Problem, runs: Runs) -> list[Activity]:
    return sorted(problem.activities, key=lambda activity: runs[activity.name][0].start)


def _solved(problem: Problem, most_candidates: int, time_limit_s: float, *, fine: bool = True) -> Solution | None:
    """Return the cheapest schedule on the candidates; None if none was found in time."""
    program = _Program(problem, most_candidates, fine)
    found = milp(
        program.costs,
        integrality=np.ones(program.size),
        bounds=Bounds(program.low, program.high),
        constraints=program.constraints(),
        options={"time_limit": time_limit_s, "mip_rel_gap": GAP},
    )
    if found.x is None:
        return None
    runs = program.runs(found.x)
    return Solution(runs, problem.cost(runs), -np.inf if found.mip_dual_bound is None else float(found.mip_dual_bound))


@dataclass(frozen=True)
class _Piece:
    """A part of an activity that does not pause: its activity and length (ms), and the pieces directly before it.

    `working` is how much of the length the activity is expected to need (ms).
    """

    activity: int
    number: int
    length: int
    working: int
    before: tuple[int, ...]


def _pieces(problem: Problem) -> Iterator[tuple[_Piece, int]]:
    """Yield the pieces of all activities, each with the length (ms) of the pieces before it in its activity."""
    last: dict[str, int] = {}
    place = 0
    for index, activity in enumerate(problem.activities):
        before, offset = tuple(last[name] for name in activity.after), 0
        for number, length in enumerate(activity.lengths):
            working = min(max(activity.working - offset, 0), length)
            yield _Piece(index, number, length, working, before), offset
            before, offset, place = (place,), offset + length, place + 1
        last[activity.name] = place - 1


@dataclass(frozen=True)
class _Block:
    """The variables of a piece: those from `first` on say that it has started by each of the times."""

    first: int
    times: Times

    def by(self, time: int) -> int | None:
        """Return the variable that says that the piece has started by a time; None before its first candidate."""
        index = int(np.searchsorted(self.times, time, side="right")) - 1
        return None if index < 0 else self.first + index

    def before(self, index: int) -> int | None:
        return self.first + index - 1 if index else None


class _Program:
    """The matrix of a problem. Resuming pieces have a second block: they have started by then after a pause."""

    def __init__(self, problem: Problem, most_candidates: int, fine: bool) -> None:
        self.problem = problem
        starts = candidates(problem, windows(problem), most_candidates, fine=fine)
        self.pieces: list[_Piece] = []
        blocks, self.size = [], 0
        for piece, offset in _pieces(problem):
            self.pieces.append(piece)
            blocks.append(_Block(self.size, starts[piece.activity] + offset))
            self.size += len(starts[piece.activity])
        self.started = blocks
        self.resumed: dict[int, _Block] = {}
        for place, piece in enumerate(self.pieces):
            if piece.number and problem.activities[piece.activity].resume:
                self.resumed[place] = _Block(self.size, blocks[place].times)
                self.size += len(blocks[place].times)
        self.low, self.high = np.zeros(self.size), np.ones(self.size)
        for block in blocks:
            self.low[block.first + len(block.times) - 1] = 1.0
        self._rows: list[tuple[list[tuple[int, float]], float]] = []  # coefficients, upper bound

    @cached_property
    def costs(self) -> npt.NDArray[np.float64]:
        costs = np.zeros(self.size)
        for place, piece in enumerate(self.pieces):
            activity = self.problem.activities[piece.activity]
            block = self.started[place]
            own = self._cost(activity.power_W, block.times, block.times + piece.working)
            own += EARLIER * np.abs(own).mean() * block.times / self.problem.deadline
            costs[block.first : block.first + len(own)] += _of_steps(own)
            if (resumed := self.resumed.get(place)) is not None:
                extra = self._cost(activity.power_W, block.times - activity.resume, block.times)
                costs[resumed.first : resumed.first + len(extra)] += _of_steps(extra)
        return costs

    def _cost(self, power_W: float, start: Times, end: Times) -> npt.NDArray[np.float64]:
        return power_W * (end - start) / MS * self.problem.course.mean(start, end)

    def constraints(self) -> LinearConstraint:
        self._rows.clear()
        for place, piece in enumerate(self.pieces):
            for block in (self.started[place], self.resumed.get(place)):
                if block is not None:
                    self._in_order(block)
            for before in piece.before:
                self._after(place, before, 0)
            if place in self.resumed:
                self._resuming(place)
        for name, limit in self.problem.limits.items():
            self._within(name, limit)
        rows, columns, values, bounds = [], [], [], []
        for number, (terms, bound) in enumerate(self._rows):
            for column, value in terms:
                rows.append(number)
                columns.append(column)
                values.append(value)
            bounds.append(bound)
        matrix = csr_array((values, (rows, columns)), shape=(max(len(bounds), 1), self.size))
        return LinearConstraint(matrix, -np.inf, bounds or [0.0])

    def _add(self, terms: Sequence[tuple[int | None, float]], bound: float) -> None:
        """Add: the sum of the terms is at most the bound. None is a variable that is 0."""
        self._rows.append(([(column, value) for column, value in terms if column is not None], bound))

    def _in_order(self, block: _Block) -> None:
        for index in range(1, len(block.times)):
            self._add([(block.first + index - 1, 1.0), (block.first + index, -1.0)], 0.0)

    def _after(self, place: int, before: int, gap: int, resumed: bool = False) -> None:
        """A piece starts only when the one before it has ended `gap` ms ago."""
        block = self.resumed[place] if resumed else self.started[place]
        other, length = self.started[before], self.pieces[before].length
        needed = [other.by(int(time) - length - gap) for time in block.times]
        for index, variable in enumerate(needed):
            if index + 1 == len(needed) or needed[index + 1] != variable:  # the others follow from their order
                self._add([(block.first + index, 1.0), (variable, -1.0)], 0.0)

    def _resuming(self, place: int) -> None:
        """A piece either starts the moment the one before it ends, or resumes after a pause long enough for that."""
        piece = self.pieces[place]
        (before,) = piece.before
        resume = self.problem.activities[piece.activity].resume
        started, resumed, other = self.started[place], self.resumed[place], self.started[before]
        self._after(place, before, resume, resumed=True)
        self._add([(resumed.first + len(resumed.times) - 1, 1.0), (started.first + len(started.times) - 1, -1.0)], 0.0)
        for index, time in enumerate(started.times):
            ended = int(time) - self.pieces[before].length
            exactly = bool(len(other.times)) and ended in other.times
            at, ahead = (other.by(ended), other.by(ended - 1)) if exactly else (None, None)
            self._add(
                [
                    (started.first + index, 1.0), (started.before(index), -1.0),
                    (resumed.first + index, -1.0), (resumed.before(index), 1.0),
                    (at, -1.0), (ahead, 1.0),
                ],
                0.0,
            )  # fmt: skip

    def _within(self, name: str, limit: float) -> None:
        """What runs at the same time uses no more of a resource than its limit. Use grows only where a piece starts."""
        users = [(place, use) for place, piece in enumerate(self.pieces) if (use := self._use(piece, name)) > 0]
        if sum(use for _, use in users) <= limit:
            return
        instants = {int(time) for place, _ in users for time in self.started[place].times}
        instants |= {
            int(time) - self.problem.activities[self.pieces[place].activity].resume
            for place, _ in users
            if place in self.resumed
            for time in self.resumed[place].times
        }
        for instant in sorted(instants):
            terms: dict[int | None, float] = defaultdict(float)
            for place, use in users:
                for column, sign in self._running(place, instant):
                    terms[column] += sign * use
            if any(terms.values()):
                self._add([(column, value) for column, value in terms.items() if value], limit)

    def _use(self, piece: _Piece, name: str) -> float:
        activity = self.problem.activities[piece.activity]
        return min(activity.uses.get(name, 0.0), self.problem.limits[name])

    def _running(self, place: int, instant: int) -> Iterator[tuple[int | None, float]]:
        piece, block = self.pieces[place], self.started[place]
        yield block.by(instant), 1.0
        yield block.by(instant - piece.length), -1.0
        if (resumed := self.resumed.get(place)) is not None:
            yield resumed.by(instant + self.problem.activities[piece.activity].resume), 1.0
            yield resumed.by(instant), -1.0

    def runs(self, solution: npt.NDArray[np.float64]) -> Runs:
        """Return the schedule of a solution; pieces that follow without a pause are one run."""
        found: dict[str, list[ActivityRun]] = defaultdict(list)
        for place, piece in enumerate(self.pieces):
            activity, block = self.problem.activities[piece.activity], self.started[place]
            start = int(block.times[_first(solution, block)])
            end = start + piece.length
            own = found[activity.name]
            if own and own[-1].end == start:
                own[-1] = ActivityRun(own[-1].start, end)
            else:
                own.append(ActivityRun(start - (activity.resume if piece.number else 0), end))
        return found


def _of_steps(costs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what each variable costs, where `costs` are of a start at each candidate: sum c_t (z_t - z_(t-1))."""
    found: npt.NDArray[np.float64] = costs - np.append(costs[1:], 0.0)
    return found


def _first(solution: npt.NDArray[np.float64], block: _Block) -> int:
    return int(np.argmax(solution[block.first : block.first + len(block.times)] > 0.5))
