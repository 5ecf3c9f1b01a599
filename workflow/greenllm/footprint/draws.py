"""Monte Carlo: each uncertain constant is drawn once, by its name, and shared by all that depends on it.

A constant with the value v and 95 % bounds l and h is drawn from a distribution with median v and the 2.5 % and 97.5 %
quantiles l and h. Where l is positive that is a lognormal of two halves: the logarithm is normal below v with the
deviation ln(v/l)/1.96, above with ln(h/v)/1.96. Factors are positive, products of them are common, and bounds such as
"164 to 570, best 273" are far from symmetric: the lognormal meets all three numbers, its values stay positive, and the
product of several remains one. Where l is not positive (what readings left open, a negative price) it is a normal
of two halves. A quantity that has a least value, such as a PUE of 1, is drawn as its excess over it; with a bound at
that value it is the normal of two halves, and what lies below counts as the least value.
"""

import hashlib
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from greenllm.estimate import PartialInterval

Array = npt.NDArray[np.float64]
DRAWS, SEED = 10_000, 1
NORMAL_95 = 1.959963984540054  # the 97.5 % quantile of a standard normal distribution


def distributed(normal: Array, value: float, low: float, high: float, least: float | None = None) -> Array:
    """Return draws of a constant from draws of a standard normal. Raises ValueError if not low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"expected low <= value <= high, got {low:g}, {value:g} and {high:g}")
    if low == high:
        return np.full_like(normal, value)
    start = 0.0 if least is None else least
    halves = normal / NORMAL_95
    if low > start:
        below, above = math.log((value - start) / (low - start)), math.log((high - start) / (value - start))
        return start + (value - start) * np.exp(halves * np.where(halves < 0, below, above))
    drawn = value + halves * np.where(halves < 0, value - low, high - value)
    return drawn if least is None else np.maximum(drawn, least)


@dataclass(frozen=True)
class Draws:
    """The source of all draws of a study. Draws of one name are the same wherever they are asked for."""

    count: int = DRAWS
    seed: int = SEED
    _known: dict[str, Array] = field(default_factory=dict, repr=False, compare=False)

    def normal(self, name: str) -> Array:
        """Return the standard normal draws of a name."""
        if name not in self._known:
            key = int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8])
            self._known[name] = np.random.default_rng([self.seed, key]).standard_normal(self.count)
        return self._known[name]


@dataclass(frozen=True)
class Drawn:
    """Quantities, one a row: their values, and the draws of each (a column for each draw).

    `unbounded` names the constants in them that have no bounds. Their intervals are then unknown: without the error of
    these constants they would be too narrow.
    """

    value: Array  # (rows,)
    draws: Array  # (rows, count)
    unbounded: frozenset[str] = frozenset()

    def __add__(self, other: "Drawn | float") -> "Drawn":
        return self._with(other, operator.add)

    def __sub__(self, other: "Drawn | float") -> "Drawn":
        return self._with(other, operator.sub)

    def __rsub__(self, other: float) -> "Drawn":
        return Drawn(other - self.value, other - self.draws, self.unbounded)

    def __mul__(self, other: "Drawn | float") -> "Drawn":
        return self._with(other, operator.mul)

    def __rmul__(self, other: float) -> "Drawn":
        return self * other

    def __truediv__(self, other: "Drawn | float") -> "Drawn":
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: float) -> "Drawn":
        return Drawn(other / self.value, other / self.draws, self.unbounded)

    def _with(self, other: "Drawn | float", operation: Callable[[Array, Any], Array]) -> "Drawn":
        if isinstance(other, Drawn):
            value, draws = operation(self.value, other.value), operation(self.draws, other.draws)
            return Drawn(value, draws, self.unbounded | other.unbounded)
        return Drawn(operation(self.value, other), operation(self.draws, other), self.unbounded)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """The 2.5 % and 97.5 % quantiles of each row's draws."""
        count = self.draws.shape[-1]
        places = [round(0.025 * (count - 1)), round(0.975 * (count - 1))]
        ordered = np.partition(self.draws, places, axis=-1)
        return ordered[..., places[0]], ordered[..., places[1]]

    def intervals(self) -> Sequence[PartialInterval]:
        """Return each row's value with its 95 % bounds, which are None where a constant has none.

        The value is computed from the constants' values, and may lie outside the draws' quantiles only by rounding.
        """
        rows = np.broadcast_shapes(self.value.shape, self.draws.shape[:-1])
        values = np.broadcast_to(self.value, rows)
        if self.unbounded:
            return [PartialInterval(float(value), None, None) for value in values]
        lows, highs = (np.broadcast_to(bound, rows) for bound in self.bounds)
        return [
            PartialInterval(float(value), float(min(low, value)), float(max(high, value)))
            for value, low, high in zip(values, lows, highs, strict=True)
        ]
