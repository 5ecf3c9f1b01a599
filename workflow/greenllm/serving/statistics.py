"""Percentiles of times."""

from collections.abc import Sequence


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return the median, the 95th and the 99th percentile (linear interpolation), None where there is no value."""
    import numpy as np

    if not values:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(np.asarray(values, dtype=float), [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
