"""Each ledger that the account names is there, unchanged and whole, and no other was there when it was made."""

from datetime import datetime

from greenllm.documents.verification import CheckOutcome
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence, LedgerEvidence


def check_ledgers(evidence: Evidence) -> CheckOutcome:
    """Compare the length and SHA-256 of each ledger, and look for damage, copies and ledgers that are not counted."""
    check = Check("ledgers", "the ledgers are those that the account was computed from", "ledgers")
    for path in evidence.missing_ledgers:
        check.find(f"ledger/{path}", "is gone, and the account counts it", "a ledger", "no file")
    ids: dict[tuple[str, str], str] = {}
    later = []
    for ledger in evidence.ledgers:
        place, attempt = f"ledger/{ledger.path}", ledger.attempt
        if ledger.named is not None:
            check.expect(ledger.intact, place, "is not the ledger that the account read", *_sizes(ledger))
        if ledger.trouble:
            check.find(place, "is damaged", found=ledger.trouble.partition(": ")[2])
        if attempt is None:
            continue
        first = ids.setdefault((attempt.boot_id, attempt.id), ledger.path)
        if first != ledger.path:
            check.find(place, f"is a copy of ledger/{first}, and the same attempt must not be counted twice")
        elif ledger.named is None and _began_before(attempt.start.started, evidence.account.until):
            check.find(place, "began before the account was made, and the account does not count it")
        elif ledger.named is None:
            later.append(ledger.path)
        if attempt.end is not None and attempt.end.lost_records:
            check.find(place, "lacks records that could not be written", 0, attempt.end.lost_records)
    if later:
        check.skip(f"{len(later)} ledgers that began after the account, so no account names their hashes")
    return check.outcome()


def _sizes(ledger: LedgerEvidence) -> tuple[str, str]:
    assert ledger.named is not None
    return (
        f"{ledger.named.bytes} bytes, SHA-256 {ledger.named.sha256[:12]}…",
        f"{ledger.bytes} bytes, SHA-256 {ledger.sha256[:12]}…",
    )


def _began_before(started: str | None, until: str | None) -> bool:
    """Whether an attempt began before the last thing that the account knows of; unknown times count as before."""
    if until is None:
        return False
    return started is None or datetime.fromisoformat(started) < datetime.fromisoformat(until)
