"""Which constants widen an interval most: shares of the variance of a quantity's logarithm.

The share of a constant is the squared correlation of its normal draws with the quantity's logarithm, which is its
first-order index (Saltelli et al. 2008, Global Sensitivity Analysis, chapter 1) where the logarithm is about linear in
them. What is left belongs to curvature and to constants together.
"""

from collections.abc import Iterable

import numpy as np

from greenllm.footprint.draws import Array, Draws

LEAST = 0.005  # a smaller share is not listed: with 10,000 draws chance alone makes about 0.0004
OTHERS = "all others, and several together"


def widening(drawn: Array, names: Iterable[str], draws: Draws) -> list[tuple[str, float]]:
    """Return (name of a constant, share of the variance) of a quantity's draws, the largest share first."""
    values = np.log(drawn) if drawn.min() > 0 else drawn
    if np.ptp(values) < 1e-9 * max(1.0, float(np.abs(values).max())):
        return []  # only rounding
    values = values - values.mean()
    scale = float(values @ values)
    shares = {}
    for name in names:
        normal = draws.normal(name) - draws.normal(name).mean()
        shares[name] = float((normal @ values) ** 2 / (normal @ normal) / scale)
    listed = sorted(((name, share) for name, share in shares.items() if share >= LEAST), key=lambda pair: -pair[1])
    rest = 1 - sum(share for _, share in listed)
    return [*listed, *([(OTHERS, rest)] if rest >= LEAST else [])]
