"""Energies with their intervals: the sensors' error, which cancels in ratios, and the spread between runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from greenllm.comparison.rows import Verdict
from greenllm.comparison.spread import (
    BySeed,
    LogRatio,
    Spread,
    alike_by_seed,
    independent,
    log_ratio,
    pooled_over_seeds,
    spreads,
)
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
    """A positive quantity that is compared, such as the energy per request in J: of each recipe, for each seed.

    `side_by_side`: what has one seed was measured side by side; otherwise at different times.
    """

    recipes: Mapping[str, BySeed]
    side_by_side: bool = True

    @cached_property
    def spreads(self) -> dict[str, Spread | None]:
        """Each recipe's spread, None where it was measured once."""
        return spreads(self.recipes)

    @cached_property
    def _alike(self) -> dict[int, Spread | None]:
        """The spread of one start's ratio, by seed: all ratios share it."""
        return alike_by_seed(self.recipes)

    @cached_property
    def _over_seeds(self) -> dict[str, dict[str, LogRatio]]:
        """The logarithms of all recipes' ratios, by baseline: over several seeds they share their spread."""
        return {}

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

    def log_ratio(self, baseline: str, recipe: str) -> LogRatio | None:
        """Return the logarithm of baseline / recipe with its spread; None where it is unknown."""
        if self.side_by_side:
            own = log_ratio(self.recipes[baseline], self.recipes[recipe], self._alike)
            several = own is not None and own.spread is not None and own.spread.over == "seeds"
            return self._pooled(baseline)[recipe] if several and recipe != baseline else own
        first, second = self.estimate(baseline), self.estimate(recipe)
        if first is None or second is None or min(first.value, second.value) <= 0:
            return None
        spread = independent(self.spreads[baseline], self.spreads[recipe])
        return LogRatio(math.log(first.value / second.value), spread)

    def _pooled(self, baseline: str) -> dict[str, LogRatio]:
        """Return the logarithm of baseline / recipe for each other recipe with which it has seeds in common."""
        if baseline not in self._over_seeds:
            first = self.recipes[baseline]
            ratios = {
                name: found
                for name, second in self.recipes.items()
                if name != baseline and (found := log_ratio(first, second, self._alike)) is not None
            }
            self._over_seeds[baseline] = pooled_over_seeds(ratios)
        return self._over_seeds[baseline]

    def times_less(self, baseline: str, recipe: str) -> Interval | None:
        """Return how many times less `recipe` takes than `baseline`, over the seeds both have; None without any.

        The value is the geometric mean of the starts' ratios. Parameters that both share (a host's idle power, a card's
        gain) cancel, instead of widening the interval twice.
        """
        found = self.log_ratio(baseline, recipe)
        return None if found is None else self._times_less(baseline, recipe, found, found.spread, 0.95)

    def against_itself(self, baseline: str, twin: str, confidence: float) -> Interval | None:
        """Return how many times less a twin takes than the same model, with the spread of their starts alone."""
        found = self.log_ratio(baseline, twin)
        return None if found is None else self._times_less(baseline, twin, found, found.starts, confidence)

    def _times_less(
        self, baseline: str, recipe: str, found: LogRatio, spread: Spread | None, confidence: float
    ) -> Interval | None:
        first, second = self.recipes[baseline], self.recipes[recipe]
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return None
        sensors = ratio(*(total(table[seed].estimate for seed in seeds) for table in (first, second)))
        if not math.isfinite(sensors.high) or sensors.value <= 0:
            return None
        value = math.exp(found.value)
        low, high = (max(0.0, bound) * value / sensors.value for bound in (sensors.low, sensors.high))
        half = spread.half_at(confidence) if spread else 0.0
        return widened(Interval(value, low, high), half)

    def verdict(self, baseline: str, recipe: str) -> Verdict:
        """Return what the ratio baseline / recipe means; "not resolvable" where a single start shows no spread."""
        found = self.log_ratio(baseline, recipe)
        if self.side_by_side and found is not None and found.spread is None:
            return "not resolvable"
        return verdict(self.times_less(baseline, recipe))


def verdict(factor: Interval | None) -> Verdict:
    """Return what a ratio baseline / recipe means: "not resolvable" where 1 is within its interval."""
    if factor is None:
        return "unknown"
    if factor.low > 1:
        return "saves"
    return "loss" if factor.high < 1 else "not resolvable"
