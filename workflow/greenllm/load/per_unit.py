"""The energy per unit of work, such as a request or a token, from several rounds."""

import math
from collections.abc import Sequence

from greenllm.estimate import Estimate, Interval, total
from greenllm.repetitions import per_unit
from greenllm.statistics import halfwidth


def energy_per_unit(
    energies: Sequence[Estimate | None], work: Sequence[int | None], starts: Sequence[int] = ()
) -> Interval | None:
    """Return the energy per unit of work (J), with 95 % bounds, from each round's energy and work.

    None if the energy or the work of a round is unknown, or nothing was done. The sensor's uncertainty and the spread
    are independent, so they add in quadrature (GUM, JCGM 100:2008, 5.1.2). The spread is that between the server's
    `starts`, where these are given for each round and there were several, since the rounds of a start are alike;
    otherwise between the rounds. With a single one it is unknown and left out. No energy is below 0.
    """
    repetitions = starts if len(set(starts)) > 1 else range(len(energies))
    known = [
        (repetition, energy, units)
        for repetition, energy, units in zip(repetitions, energies, work, strict=True)
        if energy is not None and units is not None
    ]
    if len(known) < len(energies) or not (done := sum(units for *_, units in known)):
        return None
    energy = total(energy for _, energy, _ in known).scaled(1 / done)
    spread_J = halfwidth(
        list(per_unit((repetition, energy.value, units) for repetition, energy, units in known).values())
    )
    between_J = spread_J if math.isfinite(spread_J) else 0.0
    low = max(0.0, energy.value - math.hypot(energy.value - energy.low, between_J))
    return Interval(energy.value, low, energy.value + math.hypot(energy.high - energy.value, between_J))
