"""Each attempt was sampled from its begin to its end, and what is unknown is said."""

import numpy as np

from greenllm.attribution import Attempt
from greenllm.documents.verification import CheckOutcome
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# A meter on a busy host is late, by seconds where the host swaps. More than this is a gap.
INTERVALS, LATE_s = 3.0, 10.0


def check_coverage(evidence: Evidence) -> CheckOutcome:
    """Find times that an attempt was not sampled, and name what is unknown."""
    check = Check("coverage", "each attempt was sampled from begin to end", "intervals")
    without_end = []
    for attempt in evidence.attempts:
        _check_samples(check, attempt)
        if attempt.end is None:
            without_end.append(attempt.id)
    if without_end:
        check.skip(f"the end of {len(without_end)} attempts without an end record: lost, or still running")
    for host in evidence.attribution_again.host_totals():
        unknown: dict[tuple[str, str], float] = {}
        for gap in host.gaps:
            if gap.device is not None:
                unknown[gap.device, gap.reason] = unknown.get((gap.device, gap.reason), 0.0) + gap.duration_s
        for (device, reason), seconds in unknown.items():
            check.skip(f"{seconds:.1f} s of {device} on {host.host}: {reason}")
    return check.outcome()


def _check_samples(check: Check, attempt: Attempt) -> None:
    place, interval_s = f"ledger/{attempt.path}", attempt.start.interval_s
    longest_s = INTERVALS * interval_s + LATE_s
    began_s = attempt.start.monotonic_s
    ended_s = attempt.end.monotonic_s if attempt.end else None
    edges = [began_s, *attempt.times.tolist(), ended_s]
    times = np.array([moment for moment in edges if moment is not None], dtype=float)
    gaps = np.diff(times)
    check.count(len(gaps))
    for at in np.flatnonzero(gaps > longest_s):
        check.find(
            f"{place}: from {times[at]:.3f} s (CLOCK_MONOTONIC)", "was not sampled for too long",
            f"a sample every {interval_s:g} s", f"{gaps[at]:.1f} s without one",
        )  # fmt: skip
    if attempt.end is not None and len(times) > 1 and times[-1] - times[0] > longest_s:
        check.expect(len(attempt.times) > 1, place, "has no two samples", "samples", len(attempt.times))
