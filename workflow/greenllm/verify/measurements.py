"""Each measurement agrees with itself and with the ledgers of its servers."""

import math
from collections.abc import Sequence
from itertools import pairwise

from greenllm.attribution import Attempt
from greenllm.documents.measurement import LoadPoint, MeasuredRound, MeasurementWindow, SideBySide
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

READING_s = 0.5  # a window may begin or end this much outside of its server's ledger
WRITTEN_s = 0.002  # times by the wall clock are written to the millisecond
SAID = 1e-6  # by this share a throughput may differ from requests and windows


def check_measurements(evidence: Evidence) -> CheckOutcome:
    """Compare the rounds with their sums, their windows with each other and with the ledgers of their servers."""
    check = Check("measurements", "rounds, windows and sums of measurements agree with each other", "values")
    attempts = {attempt.id: attempt for attempt in evidence.attempts}
    try:
        measured = evidence.study.side_by_side
    except UserError as error:
        check.skip(f"all measurements: {error}")
        return check.outcome()
    for (experiment, seed), whole in measured.items():
        place = evidence.name_of(layout.located(layout.MEASUREMENT, evidence.folder, experiment=experiment, seed=seed))
        check.expect(whole.measure_id in attempts, place, "has no ledger of its job", whole.measure_id, "no ledger")
        for server in whole.servers:
            for point in server.points:
                _compare_point(check, f"{place}: {server.name}", point, attempts)
        _compare_turns(check, place, whole)
    return check.outcome()


def _compare_point(check: Check, place: str, point: LoadPoint, attempts: dict[str, Attempt]) -> None:
    rounds = point.rounds
    answered = sum(one.answered for one in rounds)
    check.expect(answered == point.answered, place, "answers are not those of its rounds", answered, point.answered)
    check.expect(
        point.answered + point.failed == point.requests,
        place,
        "requests are not the answered and failed ones",
        point.answered + point.failed,
        point.requests,
    )
    for name in ("completion_tokens", "prompt_tokens"):
        counts = [getattr(one, name) for one in rounds]
        if None not in counts and getattr(point, name) is not None:
            check.expect(
                sum(counts) == getattr(point, name), place, f"{name} are not those of its rounds", sum(counts),
                getattr(point, name),
            )  # fmt: skip
    lasted_s = math.fsum(one.window.duration_s for one in rounds)
    for said, amount in (
        (point.throughput.requests_per_s, point.answered),
        (point.throughput.tokens_per_s, point.completion_tokens),
    ):
        if said is not None and amount is not None and lasted_s > 0:
            check.expect(
                math.isclose(said, amount / lasted_s, rel_tol=SAID), place, "its rate is not amount over time",
                amount / lasted_s, said,
            )  # fmt: skip
    for number, one in enumerate(rounds):
        _compare_window(check, f"{place}: round {number}", one.window)
        if one.serve_id is not None:
            _compare_server(check, f"{place}: round {number}", one, attempts.get(one.serve_id))


def _compare_window(check: Check, place: str, window: MeasurementWindow) -> None:
    check.expect(window.duration_s > 0, place, "its window ends before it begins", found=window.duration_s)
    # A wall clock is slewed by at most 500 parts per million (adjtimex(2)), and set in steps otherwise.
    allowed_s = WRITTEN_s + 1e-3 * abs(window.duration_s)
    check.expect(
        abs(window.wall_s - window.duration_s) <= allowed_s, place, "its two clocks disagree about its length",
        f"{window.duration_s:.3f} s", f"{window.wall_s:.3f} s",
    )  # fmt: skip


def _compare_server(check: Check, place: str, one: MeasuredRound, server: Attempt | None) -> None:
    if server is None or not len(server.times):
        check.find(place, "has no ledger of its server", one.serve_id, "no ledger")
        return
    window = one.window
    check.expect(window.boot_id == server.boot_id, place, "was on another boot", server.boot_id, window.boot_id)
    inside = (
        server.first_s - READING_s <= window.monotonic_start_s and window.monotonic_end_s <= server.last_s + READING_s
    )
    check.expect(
        inside, place, "is outside of its server's ledger", f"{server.first_s:.3f} to {server.last_s:.3f} s",
        f"{window.monotonic_start_s:.3f} to {window.monotonic_end_s:.3f} s",
    )  # fmt: skip


def _compare_turns(check: Check, place: str, whole: SideBySide) -> None:
    """Servers are loaded in turn: of two windows, one ends before the other begins."""
    windows = [one.window for server in whole.servers for point in server.points for one in point.rounds]
    for earlier, later in _neighbours(windows):
        check.expect(
            later.monotonic_start_s >= earlier.monotonic_end_s - WRITTEN_s, place, "two rounds overlap",
            f"after {earlier.monotonic_end_s:.3f} s", f"{later.monotonic_start_s:.3f} s",
        )  # fmt: skip


def _neighbours(windows: Sequence[MeasurementWindow]) -> list[tuple[MeasurementWindow, MeasurementWindow]]:
    ordered = sorted(windows, key=lambda one: (one.boot_id, one.monotonic_start_s))
    return [(a, b) for a, b in pairwise(ordered) if a.boot_id == b.boot_id]
