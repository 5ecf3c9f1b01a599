"""No attempt is missing, none overlaps with one that had the host or a GPU for itself."""

from collections.abc import Iterator, Sequence

from greenllm.attribution import Attempt
from greenllm.documents.verification import CheckOutcome
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# A lease ends with the job's last process, before the meter's last sample: this much of two jobs may overlap (s).
OVERLAP_s = 2.0


def check_attempts(evidence: Evidence) -> CheckOutcome:
    """Check the numbers of attempts, the meters around them, and what each had for itself."""
    check = Check("attempts", "no attempt is missing, and none used what another had for itself", "attempts")
    attempts = evidence.attempts
    check.count(len(attempts))
    ids = {attempt.id for attempt in attempts}
    for attempt in attempts:
        if attempt.parent is not None and attempt.parent not in ids:
            check.find(f"ledger/{attempt.path}", "has no ledger of the meter around it", attempt.parent, "no ledger")
    _check_numbers(check, attempts)
    outer = [attempt for attempt in attempts if attempt.parent is None and len(attempt.times)]
    for one, other in _overlapping(outer):
        place = f"ledger/{one.path} and {other.path}"
        if one.start.exclusive or other.start.exclusive:
            check.find(place, "overlap, and one of them had the host for itself")
        if shared := set(one.gpus) & set(other.gpus):
            check.find(place, "held one GPU at the same time", found=", ".join(sorted(shared)))
        if one.start.job.rule and _job(one) == _job(other):
            check.find(place, "are two attempts at one job at the same time", found=one.start.job.rule)
    return check.outcome()


def _job(attempt: Attempt) -> tuple[object, ...]:
    job = attempt.start.job
    return job.rule, *sorted((name, str(value)) for name, value in job.wildcards.items())


def _check_numbers(check: Check, attempts: Sequence[Attempt]) -> None:
    """Within one run of the workflow, the attempts at a job are numbered from 1 on."""
    numbers: dict[tuple[object, ...], list[Attempt]] = {}
    for attempt in attempts:
        if attempt.parent is None and attempt.start.job.rule and attempt.start.job.attempt is not None:
            numbers.setdefault((attempt.start.run_id, *_job(attempt)), []).append(attempt)
    for members in numbers.values():
        found = sorted(attempt.start.job.attempt or 0 for attempt in members)
        if found != list(range(1, len(found) + 1)):
            check.find(
                f"ledger/{members[0].path}", f"an attempt at {members[0].start.job.rule} is missing, or is there twice",
                f"numbers from 1 to {len(found)}", ", ".join(map(str, found)),
            )  # fmt: skip


def _overlapping(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, Attempt]]:
    """Yield each two attempts of one boot that overlap in time."""
    running: list[Attempt] = []
    for attempt in sorted(attempts, key=lambda one: (one.boot_id, one.first_s)):
        running = [
            one for one in running if one.boot_id == attempt.boot_id and one.last_s > attempt.first_s + OVERLAP_s
        ]
        yield from ((one, attempt) for one in running)
        running.append(attempt)
