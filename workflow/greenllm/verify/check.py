"""One check while it runs: what it compared, what it could not compare, and what it found."""

from greenllm.documents.verification import CheckOutcome, VerificationFinding

LONGEST = 120  # characters of a value in a finding


class Check:
    """Counts what is compared, and collects findings; nothing is left out without a reason in `skipped`."""

    def __init__(self, name: str, subject: str, units: str) -> None:
        self.name = name
        self.subject = subject
        self.units = units
        self.checked = 0
        self.skipped: list[str] = []
        self.findings: list[VerificationFinding] = []

    def count(self, number: int = 1) -> None:
        """Note that so many things were compared."""
        self.checked += number

    def skip(self, reason: str) -> None:
        """Note what could not be compared, and why."""
        self.skipped.append(reason)

    def find(self, place: str, what: str, expected: object = None, found: object = None) -> None:
        """Note a difference."""
        self.findings.append(
            VerificationFinding(check=self.name, place=place, what=what, expected=_shown(expected), found=_shown(found))
        )

    def expect(self, holds: bool, place: str, what: str, expected: object = None, found: object = None) -> None:
        """Count one comparison, and note a difference unless it `holds`."""
        self.count()
        if not holds:
            self.find(place, what, expected, found)

    def outcome(self) -> CheckOutcome:
        """Return what the check did."""
        return CheckOutcome(
            name=self.name,
            subject=self.subject,
            checked=self.checked,
            units=self.units,
            skipped=self.skipped,
            findings=self.findings,
        )


def _shown(value: object) -> str | None:
    if value is None:
        return None
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
