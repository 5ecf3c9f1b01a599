"""Searches of synthetic surfaces with noisy probes, and how near to the true optimum they end."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from response_surfaces import SPACE, Surface

from greenllm.tuning.search import Cost, Found, ProbeFailedError, search
from greenllm.tuning.space import Setting, Space

# Standard deviation of the logarithm of a probe's energy (that of its time is half of it), and the probes of a search.
NOISE, PROBES = 0.03, 25


class Strategy(Protocol):
    """A way to search, such as `greenllm.tuning.search.search`."""

    def __call__(
        self, space: Space, probe: Callable[[Setting], Cost], *, probes: int, bound_s: float | None, seed: int
    ) -> Found: ...


@dataclass(frozen=True)
class Searched:
    """What a search found, its true energy in excess of the optimum, and its true time as a part of the bound."""

    found: Found
    excess: float
    time_of_bound: float


def true_costs(surface: Surface) -> dict[Setting, Cost]:
    """Return the costs of all settings that can run."""
    return {one: cost for one in SPACE.settings() if (cost := surface(one)) is not None}


def bound_of(surface: Surface, factor: float | None) -> float | None:
    """Return a bound of time (s): that of the unbounded optimum times a factor; None without a factor."""
    return None if factor is None else factor * min(true_costs(surface).values(), key=lambda one: one.energy_J).time_s


def optimum_J(surface: Surface, bound_s: float | None) -> float | None:
    """Return the least energy (J) within a bound; None where nothing is within it."""
    costs = true_costs(surface).values()
    return min((cost.energy_J for cost in costs if bound_s is None or cost.time_s <= bound_s), default=None)


def noisy(surface: Surface, seed: int, noise: float = NOISE) -> Callable[[Setting], Cost]:
    """Return the probe of a surface, with noise."""
    chance = np.random.default_rng(seed)

    def probe(setting: Setting) -> Cost:
        cost = surface(setting)
        if cost is None:
            raise ProbeFailedError("out of memory")
        energy, time = chance.normal(0, noise), chance.normal(0, noise / 2)
        return Cost(cost.energy_J * math.exp(energy), cost.time_s * math.exp(time))

    return probe


def searched(
    surface: Surface, factor: float | None, seed: int, *, noise: float = NOISE, by: Strategy = search
) -> Searched:
    """Search a surface. Expects a bound within which there is a setting."""
    bound_s = bound_of(surface, factor)
    found = by(SPACE, noisy(surface, seed, noise), probes=PROBES, bound_s=bound_s, seed=seed)
    true, least_J = surface(found.best), optimum_J(surface, bound_s)
    assert true is not None
    assert least_J is not None
    return Searched(found, true.energy_J / least_J - 1, 0.0 if bound_s is None else true.time_s / bound_s)
