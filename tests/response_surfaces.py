"""Synthetic surfaces of energy and time, of several shapes, for the search of `greenllm tune`."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from greenllm.tuning.search import Cost, Found, ProbeFailedError, search
from greenllm.tuning.space import Setting, Space

SPACE = Space(
    batch=[2**exponent for exponent in range(9)],
    threads=[1, 2, 4, 8, 16],
    precision=["fp32", "bf16"],
    power_limit_W=[200, 300, 400, 500, 600, 700],
)
NOISE, PROBES = 0.03, 25


def knobs(setting: Setting) -> tuple[float, bool, float, float]:
    """Return log2 of the batch, whether it is bf16, log2 of the threads, and the power limit (W)."""
    return math.log2(setting.batch), setting.precision == "bf16", math.log2(setting.threads), setting.power_limit_W or 0


def saturating(one: Setting) -> Cost | None:
    """Overheads are shared by a batch, more power is a little faster, and memory is limited."""
    _, bf16, threads, limit_W = knobs(one)
    if one.batch * (2 if bf16 else 4) > 600:
        return None
    filled = one.batch / (one.batch + 12)
    speed = (limit_W / 700) ** 0.45 * (1.9 if bf16 else 1.0) * filled * min(1, 0.6 + 0.15 * threads)
    power_W = 80 + (limit_W - 80) * min(1, 0.35 + filled * 0.65) + 6 * one.threads
    return Cost(power_W * 0.01 / speed, 0.01 / speed)


def bowl(one: Setting) -> Cost:
    """Each knob has a best value inside its range."""
    batch, bf16, threads, limit_W = knobs(one)
    away = 0.06 * (batch - 5) ** 2 + 0.09 * (threads - 2) ** 2 + 2 * ((limit_W - 400) / 500) ** 2 + 0.25 * (not bf16)
    return Cost(math.exp(away), 0.01 * math.exp(0.5 * away + (700 - limit_W) / 900))


def ridge(one: Setting) -> Cost:
    """The best number of threads depends strongly on the batch."""
    batch, bf16, threads, limit_W = knobs(one)
    away = 0.15 * (batch - 1.2 * threads - 2) ** 2 + 0.03 * (batch - 5) ** 2
    away += 1.5 * ((limit_W - 350) / 500) ** 2 + 0.1 * bf16
    return Cost(2 * math.exp(away), 0.01 * math.exp(0.4 * away) * (700 / limit_W) ** 0.5)


def cliff(one: Setting) -> Cost:
    """A batch that no longer fits into a cache takes a jump."""
    batch, bf16, threads, limit_W = knobs(one)
    away = -0.12 * min(batch, 4) + 0.5 * (batch > 4) - 0.06 * max(batch - 5, 0)
    away += 0.1 * abs(threads - 3) + 0.5 * ((limit_W - 450) / 400) ** 2 + 0.3 * (not bf16)
    return Cost(5 * math.exp(away), 0.02 * math.exp(away) * (700 / limit_W) ** 0.3)


def flat(one: Setting) -> Cost:
    """Hardly anything matters."""
    batch, _, threads, _ = knobs(one)
    away = 0.02 * (batch - 6) ** 2 + 0.01 * (threads - 1) ** 2
    return Cost(math.exp(away), 0.01 * math.exp(away))


def race_to_idle(one: Setting) -> Cost:
    """Idle power dominates: what is fast takes least."""
    _, bf16, _, limit_W = knobs(one)
    time_s = 0.01 * (1 / one.threads + 0.02 * one.threads) * (1 + 4 / one.batch) * (700 / limit_W) ** 0.3
    time_s *= 0.6 if bf16 else 1
    return Cost(time_s * (150 + 8 * one.threads + 0.3 * limit_W), time_s)


SURFACES: dict[str, Callable[[Setting], Cost | None]] = {
    surface.__name__: surface for surface in (saturating, bowl, ridge, cliff, flat, race_to_idle)
}


@dataclass(frozen=True)
class Case:
    """A search: what it found, its energy in excess of the optimum, and its time as a part of the bound."""

    found: Found
    excess: float
    time_of_bound: float


def bound_of(name: str, factor: float | None) -> float | None:
    """Return a bound of time (s): that of the unbounded optimum times a factor; None without a factor."""
    known = [cost for one in SPACE.settings() if (cost := SURFACES[name](one))]
    return None if factor is None else factor * min(known, key=lambda cost: cost.energy_J).time_s


def optimum_J(name: str, bound_s: float | None) -> float | None:
    """Return the least energy (J) within a bound; None where nothing is within it."""
    known = [cost for one in SPACE.settings() if (cost := SURFACES[name](one))]
    return min((cost.energy_J for cost in known if bound_s is None or cost.time_s <= bound_s), default=None)


def noisy(name: str, seed: int) -> Callable[[Setting], Cost]:
    """Return the probe of a surface, with noise."""
    chance = np.random.default_rng(seed)

    def probe(setting: Setting) -> Cost:
        cost = SURFACES[name](setting)
        if cost is None:
            raise ProbeFailedError("out of memory")
        energy, time = chance.normal(0, NOISE), chance.normal(0, NOISE / 2)
        return Cost(cost.energy_J * math.exp(energy), cost.time_s * math.exp(time))

    return probe


def case(name: str, factor: float | None, seed: int) -> Case:
    """Search a surface. Expects a bound within which there is a setting."""
    bound_s = bound_of(name, factor)
    found = search(SPACE, noisy(name, seed), probes=PROBES, bound_s=bound_s, seed=seed)
    true, least_J = SURFACES[name](found.best), optimum_J(name, bound_s)
    assert true is not None
    assert least_J is not None
    return Case(found, true.energy_J / least_J - 1, 0.0 if bound_s is None else true.time_s / bound_s)
