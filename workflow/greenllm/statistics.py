"""Percentiles, and confidence intervals of a mean."""

import math
from collections.abc import Sequence


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return the median, the 95th and the 99th percentile (linear interpolation); None without values."""
    import numpy as np

    if not values:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(np.asarray(values, dtype=float), [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def halfwidth(values: Sequence[float]) -> float:
    """Return half the width of the mean's 95 % t-interval, in the values' unit; infinite for fewer than two.

    The values are taken as independent and normal (GUM, JCGM 100:2008, 4.2 and G.3).
    """
    import numpy as np
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    if len(values) < 2:
        return math.inf
    return float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(len(values)))
