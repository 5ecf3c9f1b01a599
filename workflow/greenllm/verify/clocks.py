"""Wall clock and monotonic clock agree, in each ledger and between the ledgers of a boot; nothing is of the future."""

import time
from datetime import datetime
from itertools import pairwise

import numpy as np

from greenllm.attribution import Attempt
from greenllm.attribution.lineage import CLOCKS_s
from greenllm.documents.verification import CheckOutcome
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# NTP slews a clock by at most 500 parts per million (adjtimex(2)); a larger difference is a step.
SLEWED, STEP_s = 1e-3, 1.0
WRITTEN_s = 0.002  # RFC 3339 times are written to the millisecond
READ_s = 0.05  # begin and end of the record are read this close to the first and last sample


def check_clocks(evidence: Evidence) -> CheckOutcome:
    """Compare the two clocks and the times in start and end records."""
    check = Check("clocks", "wall and monotonic times agree, and nothing is of the future", "times")
    for attempt in evidence.attempts:
        place = f"ledger/{attempt.path}"
        _check_order(check, place, attempt)
        _check_offset(check, place, attempt)
        _check_records(check, place, attempt)
    boots: dict[str, list[Attempt]] = {}
    for attempt in evidence.lineage.in_order:
        if len(attempt.times):
            boots.setdefault(attempt.boot_id, []).append(attempt)
    for boot in boots.values():
        check.expect(
            len({one.start.host for one in boot}) == 1, f"ledger/{boot[0].path}", "one boot has several host names",
            boot[0].start.host, ", ".join(sorted({one.start.host for one in boot})),
        )  # fmt: skip
        for earlier, later in pairwise(boot):
            _check_neighbours(check, earlier, later)
    return check.outcome()


def _check_order(check: Check, place: str, attempt: Attempt) -> None:
    times = attempt.columns["monotonic_s"]
    times = times[np.isfinite(times)]
    check.count(max(0, len(times) - 1))
    for at in np.flatnonzero(np.diff(times) <= 0):
        check.find(
            f"{place}: sample {at + 2}", "is not later than the one before it", f"after {times[at]:.6f} s",
            f"{times[at + 1]:.6f} s",
        )  # fmt: skip


def _check_offset(check: Check, place: str, attempt: Attempt) -> None:
    """The wall clock minus CLOCK_MONOTONIC changes within an attempt only as far as a clock is slewed."""
    offsets = attempt.columns["wall_s"] - attempt.columns["monotonic_s"]
    offsets = offsets[np.isfinite(offsets)]
    check.count(len(offsets))
    if not len(offsets):
        return
    furthest_s = float(np.max(np.abs(offsets - np.median(offsets))))
    allowed_s = STEP_s + SLEWED * (attempt.last_s - attempt.first_s)
    if furthest_s > allowed_s:
        check.find(place, "its wall clock was set, or a time was changed", f"steps below {allowed_s:.1f} s", furthest_s)


def _check_records(check: Check, place: str, attempt: Attempt) -> None:
    start, end = attempt.start, attempt.end
    if start.started is not None and start.wall_s is not None:
        _same_time(check, f"{place}: start record", start.started, start.wall_s)
        check.expect(start.wall_s <= time.time() + CLOCKS_s, place, "began in the future", "now", start.started)
    if start.monotonic_s is not None and len(attempt.times):
        off_s = attempt.first_s - start.monotonic_s
        # On a card whose counter ticks, readings of the edge come before the start.
        check.expect(
            off_s <= READ_s + start.interval_s, place, "its samples begin late", start.monotonic_s, attempt.first_s
        )
    if end is None:
        return
    if end.ended is not None and end.wall_s is not None:
        _same_time(check, f"{place}: end record", end.ended, end.wall_s)
    if end.monotonic_s is None or start.monotonic_s is None:
        return
    check.expect(
        end.monotonic_s >= start.monotonic_s, place, "ended before it began", start.monotonic_s, end.monotonic_s
    )
    if end.duration_s is not None:
        lasted_s = end.monotonic_s - start.monotonic_s
        check.expect(
            abs(end.duration_s - lasted_s) <= WRITTEN_s, place, "its duration is not end minus begin (s)", lasted_s,
            end.duration_s,
        )  # fmt: skip


def _same_time(check: Check, place: str, written: str, wall_s: float) -> None:
    """Compare a time in RFC 3339 with Unix time."""
    try:
        found_s = datetime.fromisoformat(written).timestamp()
    except ValueError:
        check.expect(False, place, "its time is not RFC 3339", found=written)
        return
    check.expect(abs(found_s - wall_s) <= WRITTEN_s, place, "its two times differ (Unix time)", wall_s, found_s)


def _check_neighbours(check: Check, earlier: Attempt, later: Attempt) -> None:
    """Two attempts of one boot have one difference of the clocks, as far as the clock is slewed between them."""
    change_s = abs(later.wall_offset_s - earlier.wall_offset_s)
    allowed_s = STEP_s + SLEWED * max(0.0, later.last_s - earlier.first_s)
    check.expect(
        change_s <= allowed_s, f"ledger/{later.path}", "its wall clock differs from that of the attempt before it",
        f"less than {allowed_s:.1f} s", f"{change_s:.1f} s",
    )  # fmt: skip
