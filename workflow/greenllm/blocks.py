"""How many blocks a comparison needs, from the spread in its first stage."""

import math
from collections.abc import Sequence


def needed_blocks(first_stage: Sequence[Sequence[float]], narrow: float, most: int) -> int:
    """Return how many blocks are needed until each ratio is known to the share `narrow` (95 %), at most `most`.

    `first_stage` has the log ratios of the first stage's blocks to the baseline, for each server. Stein's two-stage
    rule (1945): n = (t · s / δ)², with the first stage's standard deviation s, its t quantile, and δ = log(1 + narrow).
    """
    import numpy as np
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    least = max((len(ratios) for ratios in first_stage), default=0)
    needed = least
    for ratios in first_stage:
        if len(ratios) > 1:
            t = float(stdtrit(len(ratios) - 1, 0.975))
            needed = max(needed, math.ceil((t * float(np.std(ratios, ddof=1)) / math.log1p(narrow)) ** 2))
    return max(least, min(needed, most))
