"""The recorded verification, which the page quotes, is that of this account."""

from greenllm import __version__
from greenllm.documents.verification import CheckOutcome, Verification
from greenllm.errors import UserError
from greenllm.report.language import speaking
from greenllm.report.page import language_of
from greenllm.report.verified import VERIFIED_LINE, verified_line
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

PLACE = "account/verification.json"


def check_record(evidence: Evidence) -> CheckOutcome:
    """Compare the hashes in verification.json with the files, and the page's line with it."""
    check = Check("record", "the recorded verification is of this account, and the page quotes it", "values")
    path = layout.located(layout.VERIFICATION, evidence.folder)
    recorded = None
    if not path.is_file():
        check.skip(f"{PLACE}: none has been recorded (`greenllm verify --record`)")
    else:
        try:
            recorded = Verification.read(path)
        except UserError as error:
            check.find(PLACE, "is no verification", found=error)
            return check.outcome()
        _compare_hashes(check, evidence, recorded)
    page = layout.located(layout.PAGE, evidence.folder)
    lines = VERIFIED_LINE.findall(page.read_bytes().decode("utf-8", errors="replace")) if page.is_file() else []
    if not lines:
        check.skip("the page's line about its verification: no page, or one of an earlier version")
    elif evidence.account.packages.get("greenllm") == __version__:
        with speaking(language_of(evidence.account)):
            allowed = [str(verified_line(one)) for one in (None, recorded)]
        check.expect(
            lines[0].strip() in allowed,
            "report/index.html: verified",
            f"is not what {PLACE} says",
            allowed[1],
            lines[0],
        )
    return check.outcome()


def _compare_hashes(check: Check, evidence: Evidence, recorded: Verification) -> None:
    for name, found, expected in (
        ("account_sha256", recorded.account_sha256, evidence.sha256(layout.ACCOUNT)),
        ("attribution_sha256", recorded.attribution_sha256, evidence.sha256(layout.ATTRIBUTION)),
        ("ledgers_sha256", recorded.ledgers_sha256, evidence.ledgers_sha256),
        ("ledgers", recorded.ledgers, len(evidence.account.ledgers)),
    ):
        check.expect(found == expected, f"{PLACE}: {name}", "is not that of the account", expected, found)
