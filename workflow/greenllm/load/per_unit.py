"""The energy per unit of work, such as a request or a token, from several rounds."""

import math
from collections.abc import Sequence

from greenllm.estimate import Estimate, Interval, total
from greenllm.statistics import halfwidth


def energy_per_unit(energies: Sequence[Estimate | None], work: Sequence[int | None]) -> Interval | None:
    """Return the energy per unit of work (J), with 95 % bounds, from each round's energy and work.

    None if the energy or the work of a round is unknown, or nothing was done. The sensor's uncertainty and the spread
    between the rounds are independent, so they add in quadrature (GUM, JCGM 100:2008, 5.1.2). No energy is below 0.
    With a single round the spread is unknown and left out.
    """
    known = [
        (energy, units)
        for energy, units in zip(energies, work, strict=True)
        if energy is not None and units is not None
    ]
    if len(known) < len(energies) or not (done := sum(units for _, units in known)):
        return None
    energy = total(energy for energy, _ in known).scaled(1 / done)
    spread_J = halfwidth([energy.value / units for energy, units in known if units])
    between_J = spread_J if math.isfinite(spread_J) else 0.0
    low = max(0.0, energy.value - math.hypot(energy.value - energy.low, between_J))
    return Interval(energy.value, low, energy.value + math.hypot(energy.high - energy.value, between_J))
