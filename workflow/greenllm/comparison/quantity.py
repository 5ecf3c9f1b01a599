"""Energies with their intervals: the sensors' error, which cancels in ratios, and the spread between runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from greenllm.comparison.rows import Verdict
from greenllm.comparison.spread import BySeed, Spread, of_ratio, spreads
from greenllm.estimate import Estimate, Interval, ratio, total


def widened(sensor: Interval, half: float) -> Interval:
    """Widen a positive quantity's interval by the half-width of another 95 % interval, that of its logarithm.

    Both errors are taken as independent and relative, so that they add as squares of logarithms.
    """
    value, low, high = sensor
    if not half or value <= 0:
        return sensor
    below, above = math.log(value / low) if low > 0 else math.inf, math.log(high / value)
    return Interval(value, value * math.exp(-math.hypot(below, half)), value * math.exp(math.hypot(above, half)))


@dataclass(frozen=True)
class Quantity:
    """A positive quantity that is compared, such as the energy per request in J: of each recipe, for each seed."""

    recipes: Mapping[str, BySeed]

    @cached_property
    def spreads(self) -> dict[str, Spread | None]:
        """Each recipe's spread, None where it was measured once."""
        return spreads(self.recipes)

    def estimate(self, recipe: str) -> Estimate | None:
        """Return the mean over seeds, with only the sensors' error; None if nothing is known."""
        if not (by_seed := self.recipes[recipe]):
            return None
        return total(quantity.estimate for quantity in by_seed.values()).scaled(1 / len(by_seed))

    def mean(self, recipe: str) -> Interval | None:
        """Return the mean over seeds, with the sensors' error and the spread; None if nothing is known."""
        if (estimate := self.estimate(recipe)) is None:
            return None
        spread = self.spreads[recipe]
        return widened(estimate.interval(), spread.half if spread else 0.0)

    def times_less(self, baseline: str, recipe: str) -> Interval | None:
        """Return how many times less `recipe` takes than `baseline`, over the seeds both have; None without any.

        Parameters that both share (a host's idle power, a card's gain) cancel, instead of widening the interval twice.
        """
        first, second = self.recipes[baseline], self.recipes[recipe]
        seeds = sorted(first.keys() & second.keys())
        if not seeds or any(table[seed].estimate.value <= 0 for table in (first, second) for seed in seeds):
            return None
        found = ratio(*(total(table[seed].estimate for seed in seeds) for table in (first, second)))
        if not math.isfinite(found.high):
            return None
        found = found._replace(low=max(0.0, found.low))  # both energies are positive
        spread = of_ratio(first, second, (self.spreads[baseline], self.spreads[recipe]))
        return widened(found, spread.half if spread else 0.0)


def verdict(factor: Interval | None) -> Verdict:
    """Return what a ratio baseline / recipe means: "not resolvable" where 1 is within its interval."""
    if factor is None:
        return "unknown"
    if factor.low > 1:
        return "saves"
    return "loss" if factor.high < 1 else "not resolvable"
