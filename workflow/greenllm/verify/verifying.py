"""All checks of a results folder, and their outcome."""

import time
from collections.abc import Callable
from pathlib import Path

from greenllm import __version__
from greenllm.documents.verification import CheckOutcome, Verification
from greenllm.errors import UserError, reason
from greenllm.study import layout
from greenllm.timestamps import rfc3339
from greenllm.verify.attempts import check_attempts
from greenllm.verify.check import Check
from greenllm.verify.clocks import check_clocks
from greenllm.verify.conservation import check_conservation
from greenllm.verify.counters import check_counters
from greenllm.verify.coverage import check_coverage
from greenllm.verify.energy_logs import check_energy_logs
from greenllm.verify.evidence import Evidence, read_evidence
from greenllm.verify.exports_again import check_exports
from greenllm.verify.fingerprinted_files import check_files
from greenllm.verify.floor import check_floor
from greenllm.verify.footprint_again import check_footprint
from greenllm.verify.ledgers import check_ledgers
from greenllm.verify.measurements import check_measurements
from greenllm.verify.numbers import check_numbers
from greenllm.verify.power import check_power
from greenllm.verify.predictions import check_predictions
from greenllm.verify.record import check_record
from greenllm.verify.report_again import check_report

CheckFunction = Callable[[Evidence], CheckOutcome]

# What the page rests on; the first ones are about the files, the last ones about what the readings can be.
OF_THE_ACCOUNT: tuple[CheckFunction, ...] = (
    check_ledgers, check_numbers, check_energy_logs, check_predictions, check_measurements, check_conservation,
    check_attempts, check_coverage, check_clocks, check_counters, check_power, check_floor, check_files,
)  # fmt: skip
FROM_THE_ACCOUNT: tuple[CheckFunction, ...] = (check_footprint, check_report, check_exports, check_record)


def verify(folder: Path, with_report: bool = True) -> Verification:
    """Verify a results folder, `with_report` or only what a report is made from.

    Raises UserError if the folder is missing, has no account or one of another schema, or if half of its ledgers are
    gone.
    """
    evidence = read_evidence(folder, with_report)
    checks = OF_THE_ACCOUNT + (FROM_THE_ACCOUNT if with_report else ())
    return Verification(
        version=__version__,
        made_by=evidence.account.packages.get("greenllm"),
        verified=rfc3339(time.time()),
        with_report=with_report,
        account_sha256=evidence.sha256(layout.ACCOUNT) or "",
        attribution_sha256=evidence.sha256(layout.ATTRIBUTION),
        ledgers=len(evidence.account.ledgers),
        ledgers_sha256=evidence.ledgers_sha256,
        checks=[_carried_out(check, evidence) for check in checks],
    )


def _carried_out(check: CheckFunction, evidence: Evidence) -> CheckOutcome:
    """Run a check. Damage that it cannot deal with is a finding: the other checks are carried out nevertheless."""
    try:
        return check(evidence)
    except Exception as error:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        failed = Check(name, "could not be carried out", "values")
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        failed.find("results", "a check could not be carried out", found=f"{kind}{reason(error)}")
        return failed.outcome()
