"""What a node's counters counted while jobs ran there, from the ledgers' readings alone."""

import itertools
import math
from pathlib import Path

from greenllm.attribution import read_attempts


def counted_J(ledger: Path, boot_id: str, component: str, device: str) -> float:
    """Return the growth of a counter, in joules, in the times in which a job was metered on its host."""
    attempts = [one for one in read_attempts(ledger)[0] if one.boot_id == boot_id]
    spans = [(one.first_s, one.last_s) for one in attempts]
    stem, readings, unit_J = f"{component}/{device}", set(), 1.0
    for one in attempts:
        (sensor,) = (s for s in one.start.sensors if (s.component, s.device) == (component, device))
        assert sensor.counter is not None
        unit_J = sensor.counter.unit_J
        readings |= set(zip(one.columns[f"{stem}.monotonic_s"], one.columns[f"{stem}.raw"], strict=True))
    ordered = sorted((at_s, count) for at_s, count in readings if not math.isnan(at_s + count))
    growth = 0.0
    for (before_s, before), (after_s, after) in itertools.pairwise(ordered):
        if any(start <= (before_s + after_s) / 2 <= end for start, end in spans):
            growth += after - before
    return float(growth * unit_J)
