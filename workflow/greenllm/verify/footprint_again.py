"""The footprint, computed again from account, attribution, the configuration's site and hardware, and our factors."""

from collections.abc import Iterator
from pathlib import Path

from greenllm.account.footprint_of_results import site_of
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError, listed
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence
from greenllm.verify.numbers import compare

PLACE = "account/footprint.json"


def check_footprint(evidence: Evidence) -> CheckOutcome:
    """Compare each value, those of the factors and their sources included. Draws are seeded, so they are the same."""
    check = Check("footprint", "carbon, water and money follow from the account and the factors", "values")
    if not layout.located(layout.FOOTPRINT, evidence.folder).is_file():
        check.skip(f"{PLACE}: none has been made")
        return check.outcome()
    if missing := list(_missing(evidence)):
        check.skip(f"{PLACE}: rests on the user's own {listed(missing)}, not found from the current folder")
        return check.outcome()
    if evidence.footprint_command is None:
        check.skip(f"the options of {PLACE}: no ledger of the job that made it, so it should be that of the study")
    again, written = evidence.footprint_again, evidence.text(layout.FOOTPRINT)
    if isinstance(again, UserError):
        check.find(PLACE, "cannot be computed again", found=again)
    elif written is None:
        check.find(PLACE, "is no JSON object")
    else:
        compare(check, PLACE, again.model_dump(mode="json", by_alias=True), written, evidence)
    return check.outcome()


def _missing(evidence: Evidence) -> Iterator[str]:
    """Yield the user's own files that the site's factors come from and that are not there."""
    site = site_of(evidence.account)
    yield from (path for path in (site.series, *site.factor_tables) if path is not None and not Path(path).is_file())
