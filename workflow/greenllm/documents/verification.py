"""verification.json: what `greenllm verify` compared in a results folder, and what it found."""

from typing import ClassVar

from greenllm.documents.document import Document, DocumentPart


class VerificationFinding(DocumentPart):
    """A difference: `place` is the file (relative to the results folder), with the line or the key in it."""

    check: str
    place: str
    what: str
    expected: str | None = None
    found: str | None = None

    def __str__(self) -> str:
        values = [f"{name} {value}" for name, value in (("expected", self.expected), ("found", self.found)) if value]
        return f"{self.place}: {self.what}" + (f": {', '.join(values)}" if values else "")


class CheckOutcome(DocumentPart):
    """The outcome of one check: how many `units` it compared, what it could not compare and why, what it found."""

    name: str
    subject: str
    checked: int
    units: str
    skipped: list[str]
    findings: list[VerificationFinding]


class Verification(Document):
    """The outcome of all checks, by greenllm `version`, with the hashes of what they rest on.

    `made_by` is the version that made the account. `with_report`: whether the page, its tables and summary.json were
    compared, too. `ledgers_sha256` is the SHA-256 of the lines `<sha256>  <path>` of the ledgers that the account
    names, in order of their paths, as `sha256sum` prints them.
    """

    stage: ClassVar[str] = "verify"
    schema_name: ClassVar[str] = "greenllm/verification/1"

    version: str
    made_by: str | None
    verified: str  # RFC 3339
    with_report: bool
    account_sha256: str
    attribution_sha256: str | None
    ledgers: int
    ledgers_sha256: str
    checks: list[CheckOutcome]

    @property
    def findings(self) -> list[VerificationFinding]:
        """What all checks found."""
        return [finding for check in self.checks for finding in check.findings]
