"""Shares one host's devices but GPUs among the jobs that ran on it: memory by memory, the others by CPU time.

In an interval dt on n CPUs, b_j = c_j/(n·dt) is the share of CPU time that job j's tree used, a_j the share it had
reserved, u the busy share of the host, r_j = max(0, a_j - b_j - what meters inside it use beyond their reservations).
Of the energy counted in the interval,

    job j gets             b_j + min(1, (1 - u)/Σr) · r_j
    other processes get    u - Σb
    unallocated idle is    the rest

The clocks of c and u differ slightly, and samples of different jobs are not taken at one moment, so demand may exceed
the host's capacity. The excess waits in a queue that is served as soon as there is room: a fluid queue, computed
exactly in continuous time, so that cutting an interval in two changes nothing. How memory is shared:
greenllm.attribution.memory.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.memory import memory_shares
from greenllm.attribution.nesting import charged, children_among, unused_reservations
from greenllm.ledger.file import BUSY

# The most intervals in one computation, which bounds the memory.
CHUNK = 50_000
# A queue of fewer CPU seconds than this is empty.
EMPTY_S = 1e-9


class TermKey(NamedTuple):
    """The name under which the energy of one term of one device is shared out."""

    component: str
    device: str
    method: str
    parameter: str


Energies = Callable[[Array], Mapping[TermKey, Array]]


class SharedEnergies(NamedTuple):
    """Functions from interval edges (CLOCK_MONOTONIC, s) to the energy of each key in each interval.

    `by_processors` is shared by CPU time, `by_memory` by memory; None where no device is shared by that.
    """

    by_processors: Energies | None
    by_memory: Energies | None


@dataclass
class Shares:
    """Energies by term: of each job (by id), of other processes and of unallocated idle.

    `course` holds, for each job and term, the sum up to each of the job's own samples (times in `Attempt.times`).
    """

    jobs: dict[str, dict[TermKey, float]] = field(default_factory=dict)
    other: dict[TermKey, float] = field(default_factory=dict)
    idle: dict[TermKey, float] = field(default_factory=dict)
    course: dict[str, dict[TermKey, Array]] = field(default_factory=dict)

    def add(self, job: str, key: TermKey, energy: float) -> None:
        """Add to a job's energy."""
        own = self.jobs.setdefault(job, {})
        own[key] = own.get(key, 0.0) + energy

    def give(self, attempt: Attempt, edges: Array, energies: Mapping[TermKey, Array]) -> None:
        """Add a job's energy in each interval to its energies and courses.

        The edges hold all of the job's samples that lie between the first and the last of them.
        """
        here = within(attempt.times, float(edges[0]), float(edges[-1]))
        at = np.searchsorted(edges, attempt.times[here])
        own = self.jobs.setdefault(attempt.id, {})
        courses = self.course.setdefault(attempt.id, {})
        for key, energy in energies.items():
            course = np.cumsum(np.concatenate([[own.get(key, 0.0)], energy]))
            own[key] = float(course[-1])
            courses.setdefault(key, np.zeros(len(attempt.times)))[here] = course[at]

    def leave(self, energies: Mapping[TermKey, Array], other: Array, idle: Array) -> None:
        """Add what belongs to other processes and to nobody: their shares of the energy in each interval."""
        for key, energy in energies.items():
            self.other[key] = self.other.get(key, 0.0) + float(energy @ other)
            self.idle[key] = self.idle.get(key, 0.0) + float(energy @ idle)

    def fill_course(self) -> None:
        """Continue each course over stretches in which its device was not read: nothing was added there."""
        for courses in self.course.values():
            for course in courses.values():
                np.maximum.accumulate(course, out=course)

    def merge(self, more: "Shares") -> None:
        """Add the shares of other devices, whose keys differ."""
        for job, energies in more.jobs.items():
            self.jobs.setdefault(job, {}).update(energies)
        for job, course in more.course.items():
            self.course.setdefault(job, {}).update(course)
        self.other.update(more.other)
        self.idle.update(more.idle)


@dataclass
class _State:
    """The state that one stretch of time passes to the next."""

    queued: dict[str, float] = field(default_factory=dict)  # CPU seconds each customer still has to get
    debt: dict[str, float] = field(default_factory=dict)  # CPU seconds a parent was given before its children's


OTHER = ""  # the queue's customer for all other processes


def stretches(attempts: Sequence[Attempt]) -> list[tuple[float, float, list[Attempt]]]:
    """Cut the attempts' time into stretches (start, end, attempts there); a gap between attempts has an empty list."""
    watching = [a for a in attempts if len(a.times) > 1]
    events = sorted({a.first_s for a in watching} | {a.last_s for a in watching})
    begins: dict[float, list[Attempt]] = {}
    for attempt in watching:
        begins.setdefault(attempt.first_s, []).append(attempt)
    cut: list[tuple[float, float, list[Attempt]]] = []
    present: list[Attempt] = []
    for start, end in itertools.pairwise(events):
        present = [a for a in present if a.last_s > start] + begins.get(start, [])
        cut.append((start, end, sorted(present, key=lambda a: a.id)))
    return cut


def within(times: Array, start: float, end: float) -> slice:
    """Return where ascending times lie between start and end, both included."""
    return slice(int(np.searchsorted(times, start)), int(np.searchsorted(times, end, side="right")))


def share_out(
    attempts: Sequence[Attempt], cpus: int, energies: Callable[[list[Attempt]], SharedEnergies], policy: str
) -> Shares:
    """Share out energies among a host's attempts.

    `energies(present)` returns what the devices that the attempts present in a stretch can read counted. `policy` is
    "allocated" (a job pays for the idle part of what it reserved) or "active" (it does not).
    """
    shares = Shares()
    state = _State()
    by_id = {a.id: a for a in attempts}
    for start, end, present in stretches(attempts):
        if not present:
            continue
        by_processors, by_memory = energies(present)
        edges = np.unique(np.concatenate([[start, end], *(a.times[within(a.times, start, end)] for a in present)]))
        for first in range(0, len(edges) - 1, CHUNK):
            chunk = edges[first : first + CHUNK + 1]
            if by_processors is not None:
                _share_by_processors(chunk, present, by_id, cpus, by_processors, policy, state, shares)
            if by_memory is not None:
                _share_by_memory(chunk, present, by_id, by_memory, policy, shares)
    shares.fill_course()
    return shares


def _share_by_memory(
    edges: Array,
    present: Sequence[Attempt],
    by_id: Mapping[str, Attempt],
    energy_of: Energies,
    policy: str,
    shares: Shares,
) -> None:
    jobs, other, idle = memory_shares(edges, present, by_id, policy)
    energies = energy_of(edges)
    shares.leave(energies, other, idle)
    for attempt, row in zip(present, jobs, strict=True):
        shares.give(attempt, edges, {key: energy * row for key, energy in energies.items()})


def _share_by_processors(
    edges: Array,
    present: Sequence[Attempt],
    by_id: Mapping[str, Attempt],
    cpus: int,
    energy_of: Energies,
    policy: str,
    state: _State,
    shares: Shares,
) -> None:
    middles = (edges[:-1] + edges[1:]) / 2
    tree = {a.id: a.slopes("cpu_s", middles) for a in present}
    # The mean over the meters: each busy reading is in ticks of 10 ms, too coarse for short intervals.
    read = [a.slopes(BUSY, middles) for a in present if a.reads(BUSY)]
    busy = np.mean(read, axis=0) if read else np.zeros_like(middles)
    edges, rates, cell = _own_rates(edges, tree, present, by_id, state)
    busy = busy[cell]
    rates[OTHER] = np.maximum(0.0, busy - sum(rates.values()))
    edges, served = _serve(edges, rates, float(cpus), state)

    b = np.stack([served[a.id] for a in present]) / cpus
    unused = unused_reservations(present, by_id, b, cpus, lambda a: a.start.reserved_cpus)
    fraction = charged(b, unused, np.minimum(1.0, sum(served.values()) / cpus), policy)
    # Jobs that have ended, but whose queue is still being served.
    late = {name: rate / cpus for name, rate in served.items() if name != OTHER and name not in tree}
    other = served[OTHER] / cpus
    idle = np.maximum(0.0, 1.0 - fraction.sum(axis=0) - other - sum(late.values(), np.zeros_like(other)))

    energies = energy_of(edges)
    shares.leave(energies, other, idle)
    for key, energy in energies.items():
        for name, rate in late.items():
            shares.add(name, key, float(energy @ rate))
    for attempt, row in zip(present, fraction, strict=True):
        shares.give(attempt, edges, {key: energy * row for key, energy in energies.items()})


def _own_rates(
    edges: Array,
    tree: dict[str, Array],
    present: Sequence[Attempt],
    by_id: Mapping[str, Attempt],
    state: _State,
) -> tuple[Array, dict[str, Array], npt.NDArray[np.intp]]:
    """CPU rates (CPUs) of each attempt's tree without its children's trees.

    Parent and child are sampled at different moments, so the difference can be negative for a while: the parent is then
    in debt, and gets nothing until the debt is paid. Intervals are cut where that happens. Returns the edges, the rates
    between them, and for each the given interval that contains it.
    """
    cell = np.arange(len(edges) - 1)
    children = children_among(present, by_id)
    net = dict(tree)
    for parent, ids in children.items():
        net[parent] = tree[parent] - sum(tree[child] for child in ids)
    in_debt = [a.id for a in present if a.id in children or state.debt.get(a.id, 0.0) > 0.0]
    for name in in_debt:
        # one parent at a time: cutting for one does not change the others' rates
        owed, cuts = _pay(edges, net[name], state.debt.get(name, 0.0))
        if len(cuts):
            finer = np.union1d(edges, cuts)
            index = np.searchsorted(edges, (finer[:-1] + finer[1:]) / 2, side="right") - 1
            net = {other: rate[index] for other, rate in net.items()}
            cell, edges = cell[index], finer
            owed, _ = _pay(edges, net[name], state.debt.get(name, 0.0))
        spans = np.diff(edges)
        net[name] = np.maximum(0.0, net[name] - np.maximum(0.0, owed[:-1] - owed[1:]) / spans)
        state.debt[name] = float(owed[-1])
    return edges, net, cell


def _pay(edges: Array, rate: Array, debt: float) -> tuple[Array, Array]:
    """Return the debt at each edge, and the moments inside intervals at which it is paid off."""
    spans = np.diff(edges)
    level = np.concatenate([[-debt], -debt + np.cumsum(rate * spans)])
    owed = np.maximum.accumulate(np.maximum(level, 0.0)) - level
    owed[owed < EMPTY_S] = 0.0
    paid = np.flatnonzero((owed[:-1] > 0) & (owed[1:] == 0) & (rate * spans > owed[:-1] + EMPTY_S))
    return owed, edges[paid] + owed[paid] / rate[paid]


def _serve(edges: Array, rates: dict[str, Array], capacity: float, state: _State) -> tuple[Array, dict[str, Array]]:
    """Serve the customers' CPU demand (CPUs, between edges) with a capacity; keep the queue for the next stretch.

    While demand exceeds capacity each customer is served in proportion to its demand, and the rest is queued. While
    there is room, each is served its demand, and the queues get the rest in proportion to their lengths.
    """
    for name in state.queued:
        rates.setdefault(name, np.zeros(len(edges) - 1))
    names = list(rates)
    start = np.array([state.queued.get(name, 0.0) for name in names])
    demand = np.stack([rates[name] for name in names])

    excess = (demand.sum(axis=0) - capacity) * np.diff(edges)
    if not start.any() and (excess <= 0).all():
        return edges, rates

    def queue_length() -> Array:
        level = np.concatenate([[start.sum()], start.sum() + np.cumsum(excess)])
        length: Array = level - np.minimum(np.minimum.accumulate(level), 0.0)
        length[length < EMPTY_S] = 0.0
        return length

    length = queue_length()
    emptied = np.flatnonzero((length[:-1] > 0) & (length[1:] == 0) & (-excess > length[:-1] + EMPTY_S))
    if len(emptied):
        cuts = edges[emptied] + length[emptied] / (-excess[emptied]) * np.diff(edges)[emptied]
        finer = np.union1d(edges, cuts)
        demand = demand[:, np.searchsorted(edges, (finer[:-1] + finer[1:]) / 2, side="right") - 1]
        edges = finer
        excess = (demand.sum(axis=0) - capacity) * np.diff(edges)
        length = queue_length()
    spans, total = np.diff(edges), demand.sum(axis=0)
    served = demand.copy()
    queued = start.copy()
    over = total > capacity
    for i in np.flatnonzero(over | (length[:-1] > 0)):  # few: only where a queue grows or is served
        if over[i]:
            served[:, i] = demand[:, i] * (capacity / total[i])
        elif (waiting := queued.sum()) > 0:
            served[:, i] += min(capacity - total[i], waiting / spans[i]) * queued / waiting
        queued = np.maximum(0.0, queued + (demand[:, i] - served[:, i]) * spans[i])
        if length[i + 1] == 0:
            queued[:] = 0.0
    state.queued = {name: float(q) for name, q in zip(names, queued, strict=True) if q > EMPTY_S}
    return edges, dict(zip(names, served, strict=True))
