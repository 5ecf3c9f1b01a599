"""The break-even: the number of requests after which a recipe has saved its extra energy to produce."""

import math
from collections.abc import Mapping

from greenllm.comparison.quantity import Quantity, widened
from greenllm.comparison.rows import BreakEven
from greenllm.estimate import Estimate, Interval, ratio, total
from greenllm.statistics import halfwidth

Produced = Mapping[int, Estimate]  # seed → what its model cost to produce, in J


def break_even(request: Quantity, produce: Mapping[str, Produced], baseline: str, recipe: str) -> BreakEven | None:
    """Return the number of requests after which `recipe` has saved its extra cost against `baseline`.

    It is the extra energy to produce over the energy saved per request, both in J, over the seeds that have both.
    Errors of shared parameters cancel; the spreads of both differences add. Returns "never" if a request takes more
    energy than with the baseline, None if energies are unknown or it is not resolvable whether the recipe saves.
    """
    found = request.verdict(baseline, recipe)
    if found == "loss":
        return "never"
    tables = [table for name in (baseline, recipe) for table in (request.recipes[name], produce[name])]
    seeds = sorted(set.intersection(*(set(table) for table in tables)))
    if found != "saves" or not seeds:
        return None
    before, after = ([request.recipes[name][seed].estimate for seed in seeds] for name in (baseline, recipe))
    extras = [produce[recipe][seed] + produce[baseline][seed].scaled(-1) for seed in seeds]
    extra, saving = total(extras), total(before) + total(after).scaled(-1)
    # From a single seed, the spread between seeds is unknown.
    spread_J = halfwidth([one.value for one in extras]) if len(extras) > 1 else 0.0
    if extra.value <= 0:
        # The upper bound of its extra cost may still be positive.
        most = extra.value + math.hypot(extra.high - extra.value, len(seeds) * spread_J)
        if most > 0 and saving.low <= 0:
            return None
        return Interval(0.0, 0.0, most / saving.low if most > 0 else 0.0)
    requests = ratio(extra, saving)
    if saving.low <= 0 or not math.isfinite(requests.high):
        return None
    found_ratio = request.log_ratio(baseline, recipe)
    spread = found_ratio.spread if found_ratio else None
    # The relative error of the saving is at most that of the ratio, times the baseline's energy over the saving.
    of_saving = spread.half * total(before).value / saving.value if spread else 0.0
    of_extra = spread_J * len(seeds) / extra.value
    return widened(requests._replace(low=max(0.0, requests.low)), math.hypot(of_saving, of_extra))
