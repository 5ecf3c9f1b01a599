"""The break-even: the number of requests after which a recipe has saved its extra energy to produce."""

import math
from collections.abc import Mapping

from greenllm.comparison.quantity import Quantity
from greenllm.comparison.rows import BreakEven
from greenllm.estimate import Estimate, Interval, ratio, total
from greenllm.statistics import halfwidth

Produced = Mapping[int, Estimate]  # seed → what its model cost to produce, in J


def break_even(request: Quantity, produce: Mapping[str, Produced], baseline: str, recipe: str) -> BreakEven | None:
    """Return the number of requests after which `recipe` has saved its extra cost against `baseline`.

    It is the extra cost over the energy saved by a request, both in J, over the seeds that have both. With b, the
    baseline's energy per request, and r, how many times less the recipe takes, that is (extra cost / b) / (1 - 1/r).
    The relative bounds of 1 - 1/r follow from those of r: where r may be nearly 1, the number has hardly a bound.
    Errors of parameters that extra cost and b share cancel. The deviations of the two factors, as logarithms, add in
    quadrature.

    Returns "never" if a request takes more energy than with the baseline and the model took more to make, too. None if
    energies are unknown, if it is not resolvable whether the recipe saves, or if it takes more and may have taken less
    to make: then it is ahead at first.
    """
    tables = [table for name in (baseline, recipe) for table in (request.recipes[name], produce[name])]
    seeds = sorted(set.intersection(*(set(table) for table in tables)))
    found, times_less = request.verdict(baseline, recipe), request.times_less(baseline, recipe)
    if not seeds or times_less is None or found not in ("loss", "saves"):
        return None
    extra = _extra_requests(request, produce, baseline, recipe, seeds)
    if found == "loss":
        return "never" if extra.low > 0 else None
    share, least, most = (1 - 1 / bound for bound in (times_less.value, times_less.low, times_less.high))
    if extra.value <= 0:  # the upper bound of its extra cost may still be positive
        return Interval(0.0, 0.0, max(0.0, extra.high) / least)
    before_J, after_J = (
        total(request.recipes[name][seed].estimate for seed in seeds).value for name in (baseline, recipe)
    )
    if before_J <= after_J:  # the starts' ratios save, and their sum does not
        return None
    value = extra.value * before_J / (before_J - after_J)
    fewer = math.hypot(_logarithm(extra.value, extra.low), math.log(most / share))
    more = math.hypot(_logarithm(extra.high, extra.value), math.log(share / least))
    return Interval(value, value * math.exp(-fewer), value * math.exp(more))


def _extra_requests(
    request: Quantity, produce: Mapping[str, Produced], baseline: str, recipe: str, seeds: list[int]
) -> Interval:
    """Return the extra cost in requests to the baseline, with the sensors' error and the spreads of both."""
    extras = [produce[recipe][seed] + produce[baseline][seed].scaled(-1) for seed in seeds]
    before = total(request.recipes[baseline][seed].estimate for seed in seeds)
    value, low, high = ratio(total(extras), before)
    # From a single seed, the spread between seeds is unknown.
    of_extra = len(seeds) * halfwidth([one.value for one in extras]) / before.value if len(extras) > 1 else 0.0
    spread = request.spreads[baseline]
    of_request = abs(value) * math.expm1(spread.half) if spread else 0.0
    below, above = (math.hypot(bound - value, of_extra, of_request) for bound in (low, high))
    return Interval(value, value - below, value + above)


def _logarithm(greater: float, smaller: float) -> float:
    return math.log(greater / smaller) if smaller > 0 else math.inf
