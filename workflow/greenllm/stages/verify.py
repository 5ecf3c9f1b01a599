"""`greenllm verify`: compute every number of a results folder again, compare hashes, and check what was read."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.documents.verification import CheckOutcome, Verification

ROWS = 10  # findings of one check, without --all


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder, with its account/ and ledger/")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.add_argument("--all", action="store_true", help=f"print every finding, not only {ROWS} of each check")
    parser.add_argument(
        "--record", type=Path, metavar="FILE",
        help="write the outcome to FILE, for the page of the next report; the report itself is then left out, and the "
        "exit status is 0 whatever was found (default: 1 if anything was found)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print what each check compared, skipped and found; exit status 1 if anything was found."""
    from greenllm.printing import print_json
    from greenllm.verify.verifying import verify

    found = verify(arguments.results, with_report=arguments.record is None)
    if arguments.record is not None:
        found.write(arguments.record)
    if arguments.json:
        print_json({"schema": found.schema_name, **found.model_dump()})
    else:
        _print(found, None if arguments.all else ROWS)
    return 1 if found.findings and arguments.record is None else 0


def _print(found: "Verification", rows: int | None) -> None:
    for check in found.checks:
        print(f"{check.name}: {check.subject}: {_outcome(check)}")
        for finding in check.findings[:rows]:
            print(f"  {finding}")
        if rows is not None and len(check.findings) > rows:
            print(f"  … and {len(check.findings) - rows} more (--all)")
        for reason in check.skipped:
            print(f"  skipped: {reason}")
    made = "" if found.made_by in (None, found.version) else f"; the account was made by greenllm {found.made_by}"
    print(f"\n{len(found.findings) or 'nothing'} found by greenllm {found.version}{made}")


def _outcome(check: "CheckOutcome") -> str:
    found = f"{len(check.findings)} found" if check.findings else "nothing found"
    return f"{check.checked} {check.units} compared, {found}"
