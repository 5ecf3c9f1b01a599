"""Whether settings differ by more than probes of one setting do among themselves."""

import math
from dataclasses import dataclass

from greenllm.tuning.search import Found
from greenllm.tuning.space import Setting


@dataclass(frozen=True)
class Spread:
    """How much the energy of one setting differs from probe to probe.

    `deviation` is the standard deviation of its natural logarithm, pooled over the settings that were probed more than
    once; `freedom` are its degrees of freedom.
    """

    deviation: float
    freedom: int

    @staticmethod
    def of(found: Found) -> "Spread | None":
        """Return the spread of a tuning's probes; None where no setting was probed twice."""
        squares, freedom = 0.0, 0
        for costs in found.costs.values():
            logarithms = [math.log(cost.energy_J) for cost in costs]
            mean = math.fsum(logarithms) / len(logarithms)
            squares += math.fsum((one - mean) ** 2 for one in logarithms)
            freedom += len(logarithms) - 1
        return Spread(math.sqrt(squares / freedom), freedom) if freedom else None

    def resolves(self, found: Found, setting: Setting) -> bool:
        """Return whether a setting takes resolvably more energy than the best one (95 % t-interval of the difference).

        The probes are taken as independent and normal in the logarithm (GUM, JCGM 100:2008, 4.2.4 and G.3).
        """
        from scipy.special import stdtrit

        variance = sum(_variance_of_median(len(found.costs[one])) for one in (setting, found.best))
        halfwidth = float(stdtrit(self.freedom, 0.975)) * self.deviation * math.sqrt(variance)
        return math.log(found.typical(setting).energy_J / found.typical(found.best).energy_J) > halfwidth


def _variance_of_median(number: int) -> float:
    """Return the variance of the median of so many normal values, as a part of that of one: an upper bound from 3 on.

    It tends to π/2 times that of the mean, from below (Kenney and Keeping, Mathematics of Statistics, part 1, 13.13).
    """
    return 1 / number if number < 3 else math.pi / (2 * number)
