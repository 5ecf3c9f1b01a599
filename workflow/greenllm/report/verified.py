"""The page's line that says whether its results were verified, and by which version."""

import re

from markupsafe import Markup

from greenllm.documents.verification import Verification
from greenllm.report.language import plural, text
from greenllm.report.numbers import plain

VERIFIED_LINE = re.compile(r'<p id="verified".*?</p>\n?', re.DOTALL)


def verified_text(verification: Verification | None) -> str:
    """Return the sentence for the page; None: no verification of this account is recorded."""
    if verification is None:
        return text("Not verified: `greenllm verify --record` was not run before this page was made.")
    checks, found = len(verification.checks), len(verification.findings)
    compared = sum(check.checked for check in verification.checks)
    skipped = sum(len(check.skipped) for check in verification.checks)
    outcome = plural("{count} difference was found", "{count} differences were found", found)
    return text(
        "Verified by greenllm {version} on {day}: {checks} checks compared {compared} things, and {outcome}; {skipped} "
        "could not be compared.",
        version=verification.version,
        day=verification.verified[:10],
        checks=checks,
        compared=plain(compared, 0),
        outcome=outcome if found else text("nothing was found"),
        skipped=plain(skipped, 0),
    )


def verified_line(verification: Verification | None) -> Markup:
    """Return the sentence as an element of the page."""
    found = verification is not None and bool(verification.findings)
    return Markup('<p id="verified" class="{}">{} <a href="#verification">{}</a></p>').format(
        "warning" if found else "note", verified_text(verification), text("What is verified")
    )
