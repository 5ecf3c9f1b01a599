"""Servers that are started side by side several times: how far a start differs from the next, and how many are needed.

The logarithms of the energies are a two-way layout, servers by starts. What is left after each server's mean and each
start's mean is how far one start of a server differs from the next, and the noise of its rounds. Its variance is taken
as alike for all servers, as in any analysis of variance.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


def per_unit(rounds: Iterable[tuple[int, float, int]]) -> dict[int, float]:
    """Return the amount per unit of work of each repetition, from the rounds' (repetition, amount, units of work).

    A repetition without any work is left out.
    """
    sums: dict[int, tuple[float, int]] = {}
    for repetition, amount, work in rounds:
        before, done = sums.get(repetition, (0.0, 0))
        sums[repetition] = before + amount, done + work
    return {repetition: amount / done for repetition, (amount, done) in sums.items() if done}


class Residual(NamedTuple):
    """The variance of what is left of a server's log energy in one start, and its degrees of freedom."""

    variance: float
    freedom: int


def residual(logs: npt.NDArray[np.float64]) -> Residual | None:
    """Return the residual of log energies, a row for each server and a column for each start; None if there is none.

    Two servers and two starts are needed at least.
    """
    servers, starts = logs.shape
    freedom = (servers - 1) * (starts - 1)
    if freedom < 1:
        return None
    left = logs - logs.mean(axis=1, keepdims=True) - logs.mean(axis=0, keepdims=True) + logs.mean()
    return Residual(float((left**2).sum()) / freedom, freedom)


def needed_starts(first_stage: npt.NDArray[np.float64], narrow: float, most: int) -> int:
    """Return how many starts are needed until each ratio of two servers is known to the share `narrow` (95 %).

    `first_stage` has the log energies of the first stage's starts, a row for each server. Stein's two-stage rule
    (1945): n = (t / δ)² · 2 s², with the first stage's residual variance s², its t quantile, and δ = log(1 + narrow).
    At most `most`, and no fewer than the first stage's.
    """
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    starts = int(first_stage.shape[1])
    left = residual(first_stage)
    if left is None:
        return starts
    t = float(stdtrit(left.freedom, 0.975))
    needed = math.ceil((t / math.log1p(narrow)) ** 2 * 2 * left.variance)
    return max(starts, min(needed, most))
