"""Servers measured side by side in blocks on a simulated host: what a request takes is known, and the host is not calm.

Nothing here is a result: ratios and their intervals come from the functions that the account uses.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from greenllm.blocks import needed_blocks
from greenllm.comparison.quantity import Quantity
from greenllm.comparison.spread import Repeated
from greenllm.estimate import Estimate, Parameter

Array = NDArray[np.float64]
BASELINE, ENERGY_J = "0", 0.3  # the baseline, and what a request to it takes
OTHER_MORE = 0.1  # each server's request takes this share of the baseline's more than the one before


@dataclass(frozen=True)
class Host:
    """What changes the energy of a round besides the server; all are shares of it.

    `noise` is each round's own. `wander` is the standard deviation of an AR(1) process with the correlation time
    `wander_s`. Over the whole measurement the host slows down by `drift`, linearly. `disturbed`: how much more a round
    takes while a disturber runs, which it does for random times of 1 to 20 s, half of the time. With `unsteady` the
    noise is larger by this factor from the middle of the first stage on.
    """

    noise: float = 0.03
    wander: float = 0.0
    wander_s: float = 10.0
    drift: float = 0.0
    disturbed: float = 0.0
    unsteady: float = 1.0


@dataclass(frozen=True)
class Design:
    """A measurement: each block has a round of each server, in random order.

    With `narrow` the blocks are a first stage, from which Stein's rule determines how many there are, at most `most`.
    """

    servers: int = 6
    blocks: int = 16
    round_s: float = 0.6  # with the time between two rounds
    narrow: float | None = None
    most: int = 64


def truth(server: int) -> float:
    """Return how many times less energy than the baseline a server's request truly takes."""
    return 1 / (1 + OTHER_MORE * server)


def studies(host: Host, design: Design, number: int, seed: int = 0) -> Iterator[Quantity]:
    """Yield simulated studies: the energy per request of each server, named by its number, in each block."""
    random = np.random.default_rng(seed)
    blocks = design.blocks if design.narrow is None else design.most
    for energies in _energies(host, design, blocks, number, random):
        yield _measured(design, energies)


def _energies(host: Host, design: Design, blocks: int, number: int, random: np.random.Generator) -> Array:
    """Return what a request takes (J): shape (studies, blocks, servers)."""
    rounds = blocks * design.servers
    order = random.permuted(np.tile(np.arange(design.servers), (number, blocks, 1)), axis=2)  # the server in each place
    slow = 1 + host.drift * np.linspace(0, 1, rounds)
    ends = np.cumsum(design.round_s * slow)
    starts = np.concatenate([[0.0], ends[:-1]])
    size = np.where(np.arange(blocks) < design.blocks // 2, 1.0, host.unsteady).repeat(design.servers)
    logarithms = np.log(slow) + host.noise * size * random.standard_normal((number, rounds))
    logarithms += host.wander * _wander(math.exp(-design.round_s / host.wander_s), number, rounds, random)
    if host.disturbed:
        shares = np.array([_shares(starts, ends, random) for _ in range(number)])
        logarithms += np.log1p(host.disturbed * shares)
    placed = logarithms.reshape(order.shape)
    by_server = np.take_along_axis(placed, np.argsort(order, axis=2), axis=2)
    more = 1 + OTHER_MORE * np.arange(design.servers)
    return np.asarray(ENERGY_J * more * np.exp(by_server), dtype=np.float64)


def _wander(alike: float, number: int, rounds: int, random: np.random.Generator) -> Array:
    """Return an AR(1) process of variance 1, in which neighbours have the correlation `alike`."""
    found: Array = random.standard_normal((number, rounds))
    for place in range(1, rounds):
        found[:, place] = alike * found[:, place - 1] + math.sqrt(1 - alike**2) * found[:, place]
    return found


def _shares(starts: Array, ends: Array, random: np.random.Generator) -> Array:
    """Return for which share of each round a disturber runs, which runs and rests in turn for 1 to 20 s."""
    edges = np.cumsum([random.uniform(0, 20), *random.uniform(1, 20, int(ends[-1]) + 2)]) - random.uniform(0, 20)
    runs = np.arange(len(edges)) % 2 == random.integers(2)  # from each edge to the next
    spent = np.concatenate([[0.0], np.cumsum(np.diff(edges) * runs[:-1])])
    return np.asarray((np.interp(ends, edges, spent) - np.interp(starts, edges, spent)) / (ends - starts), np.float64)


def _measured(design: Design, energies: Array) -> Quantity:
    """Return what a measurement finds that has as many of the blocks as its rule determines."""
    first = None
    blocks = design.blocks
    if design.narrow is not None:
        ratios: Sequence[Sequence[float]] = np.log(energies[:blocks, :1] / energies[:blocks, 1:]).T.tolist()
        blocks = needed_blocks(ratios, design.narrow, design.most)
        first = design.blocks if blocks > design.blocks else None
    parameters = {"gain": Parameter(1, 0.95, 1.05, "1", "simulated")}
    return Quantity(
        {
            str(server): {
                1: Repeated(Estimate({"gain": float(own.mean())}, parameters), tuple(own), tuple(range(blocks)), first)
            }
            for server, own in enumerate(energies[:blocks].T)
        }
    )
