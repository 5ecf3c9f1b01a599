"""Servers measured side by side on a simulated host: what a request takes is known, and the host is not calm.

Nothing here is a result: ratios and their intervals come from the functions that the account uses.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from greenllm.comparison.quantity import Quantity
from greenllm.comparison.spread import Repeated
from greenllm.estimate import Estimate, Parameter
from greenllm.repetitions import needed_starts

Array = NDArray[np.float64]
BASELINE, ENERGY_J = "0", 0.3  # the baseline, and what a request to it takes
OTHER_MORE = 0.1  # each server's request takes this share of the baseline's more than the one before


@dataclass(frozen=True)
class Host:
    """What changes the energy of a round besides the server; all are shares of it.

    `noise` is each round's own, `start` that of each start of a server, standard deviations. Every other server has
    `unlike` times both. `wander` is the standard deviation of an AR(1) process with the correlation time `wander_s`.
    Over the whole measurement the host slows down by `drift`, linearly. `disturbed`: how much more a round takes while
    a disturber runs, which it does for random times of 1 to 20 s, half of the time. With `unsteady` noise and starts
    vary by this factor more from the second half of the first stage on.
    """

    noise: float = 0.04
    start: float = 0.015
    unlike: float = 1.0
    wander: float = 0.0
    wander_s: float = 10.0
    drift: float = 0.0
    disturbed: float = 0.0
    unsteady: float = 1.0


@dataclass(frozen=True)
class Design:
    """A measurement: servers are started several times; after each start a block has a round of each, in random order.

    With `narrow` the starts are a first stage, from which Stein's rule determines how many there are, at most `most`.
    """

    servers: int = 6
    starts: int = 4
    rounds: int = 4
    round_s: float = 0.6  # with the time between two rounds
    starting_s: float = 10.0
    narrow: float | None = None
    most: int = 24


def truth(server: int) -> float:
    """Return how many times less energy than the baseline a server's request truly takes."""
    return 1 / (1 + OTHER_MORE * server)


def studies(host: Host, design: Design, number: int, seed: int = 0) -> Iterator[Quantity]:
    """Yield simulated studies: the energy per request of each server, named by its number, in each start."""
    random = np.random.default_rng(seed)
    starts = design.starts if design.narrow is None else design.most
    for energies in _energies(host, design, starts, number, random):
        yield _measured(design, energies)


def _energies(host: Host, design: Design, starts: int, number: int, random: np.random.Generator) -> Array:
    """Return what a request takes (J): shape (studies, starts, servers)."""
    servers, each = design.servers, design.rounds * design.servers
    rounds = starts * each
    order = random.permuted(np.tile(np.arange(servers), (number, starts * design.rounds, 1)), axis=2)
    slow = 1 + host.drift * np.linspace(0, 1, rounds)
    between = np.zeros(rounds)
    between[::each] = design.starting_s
    ends = np.cumsum(design.round_s * slow + between)
    begins = ends - design.round_s * slow
    logarithms = np.log(slow) + host.wander * _wander(np.exp(-np.diff(begins) / host.wander_s), number, random)
    if host.disturbed:
        shares = np.array([_shares(begins, ends, random) for _ in range(number)])
        logarithms += np.log1p(host.disturbed * shares)
    placed = np.take_along_axis(logarithms.reshape(order.shape), np.argsort(order, axis=2), axis=2)
    by_start = placed.reshape(number, starts, design.rounds, servers)
    size = np.where(np.arange(starts) < design.starts // 2, 1.0, host.unsteady)[:, None, None]
    size = size * np.where(np.arange(servers) % 2, host.unlike, 1.0)
    by_start = by_start + size * host.noise * random.standard_normal(by_start.shape)
    by_start = by_start + size * host.start * random.standard_normal((number, starts, 1, servers))
    more = 1 + OTHER_MORE * np.arange(servers)
    return np.asarray((ENERGY_J * more * np.exp(by_start)).mean(axis=2), dtype=np.float64)


def _wander(alike: Array, number: int, random: np.random.Generator) -> Array:
    """Return an AR(1) process of variance 1, in which neighbours have the correlations `alike`."""
    found: Array = random.standard_normal((number, len(alike) + 1))
    for place, share in enumerate(alike, start=1):
        found[:, place] = share * found[:, place - 1] + math.sqrt(1 - share**2) * found[:, place]
    return found


def _shares(begins: Array, ends: Array, random: np.random.Generator) -> Array:
    """Return for which share of each round a disturber runs, which runs and rests in turn for 1 to 20 s."""
    edges = np.cumsum([random.uniform(0, 20), *random.uniform(1, 20, int(ends[-1]) + 2)]) - random.uniform(0, 20)
    runs = np.arange(len(edges)) % 2 == random.integers(2)  # from each edge to the next
    spent = np.concatenate([[0.0], np.cumsum(np.diff(edges) * runs[:-1])])
    return np.asarray((np.interp(ends, edges, spent) - np.interp(begins, edges, spent)) / (ends - begins), np.float64)


def _measured(design: Design, energies: Array) -> Quantity:
    """Return what a measurement finds that has as many of the starts as its rule determines."""
    first, starts = None, design.starts
    if design.narrow is not None:
        starts = needed_starts(np.log(energies[:starts].T), design.narrow, design.most)
        first = design.starts if starts > design.starts else None
    parameters = {"gain": Parameter(1, 0.95, 1.05, "1", "simulated")}
    return Quantity(
        {
            str(server): {
                1: Repeated(
                    Estimate({"gain": float(own.mean())}, parameters), tuple(own), tuple(range(starts)), first, "starts"
                )
            }
            for server, own in enumerate(energies[:starts].T)
        }
    )
