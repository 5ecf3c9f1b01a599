"""`greenllm report`: the report page with its figures and tables, or one named table."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.account.footprint_document import Footprint
    from greenllm.documents.verification import Verification
    from greenllm.scheduling.document import ScheduleOutcome


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--account", required=True, type=Path, metavar="FILE", help="account.json, as `greenllm account` wrote it"
    )
    parser.add_argument(
        "--language",
        choices=("en", "zh"),
        help="language of the texts; without it, that of the configuration (report.language)",
    )
    parser.add_argument("--table", choices=("efficiency", "impact"), help="write only this table, not the page")
    parser.add_argument(
        "--footprint", type=Path, metavar="FILE",
        help="footprint.json of this account (`greenllm footprint`): carbon, water and money of the page",
    )  # fmt: skip
    parser.add_argument(
        "--verification", type=Path, metavar="FILE",
        help="verification.json of this account (`greenllm verify --record`): the page then says what was found",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PATH",
        help="folder for index.html, figures/, tables/ and summary.json; with --table the table's path, to "
        "whose stem .csv and .parquet (joules, grams of CO2 equivalent) and .md and .tex (prefixed units) are added",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Write the page, or one table."""
    from greenllm.account.document import Account
    from greenllm.report.figures.style import chinese_fonts
    from greenllm.report.language import speaking
    from greenllm.report.page import language_of, write_report
    from greenllm.report.table import ENDINGS
    from greenllm.report.tables import NAMED

    account = Account.read(arguments.account, remedy="run `greenllm account` first")
    if arguments.table:
        out: Path = arguments.out
        prefix = out.with_suffix("") if out.suffix in ENDINGS else out
        with speaking(language_of(account, arguments.language)):
            table = NAMED[arguments.table](account)
            table.require_own(prefix)
            written = table.write(prefix)
        for path in written:
            print(path, file=sys.stderr)
    else:
        spoken = language_of(account, arguments.language)
        verification = None if arguments.verification is None else _verification(arguments)
        footprint = None if arguments.footprint is None else _footprint(arguments)
        schedule = _schedule(arguments.account)
        write_report(account, arguments.out, spoken, footprint=footprint, verification=verification, schedule=schedule)
        if spoken.code == "zh" and not chinese_fonts():
            print(
                "warning: no font with Chinese letters is installed, so PDF and PNG of the figures lack them "
                "(Debian: fonts-noto-cjk); the page has them",
                file=sys.stderr,
            )
        print(arguments.out / "index.html", file=sys.stderr)
    return 0


def _footprint(arguments: argparse.Namespace) -> "Footprint":
    """Return the footprint of the account. Raises UserError if it is of another account."""
    from greenllm.account.footprint_document import Footprint
    from greenllm.errors import UserError
    from greenllm.files import sha256_of

    found = Footprint.read(arguments.footprint, remedy="run `greenllm footprint` first")
    if sha256_of(arguments.account) not in {source.sha256 for source in found.sources}:
        raise UserError(
            f"{arguments.footprint}: sources: none is {arguments.account}; the account was made again since, so run "
            "`greenllm footprint` again"
        )
    return found


def _schedule(account: Path) -> "ScheduleOutcome | None":
    """Return what a plan saved, from the file beside the account; None if there was no plan."""
    from greenllm.scheduling.document import ScheduleOutcome

    path = account.with_name("schedule.json")
    return ScheduleOutcome.read(path) if path.is_file() else None


def _verification(arguments: argparse.Namespace) -> "Verification":
    """Return the verification of the account. Raises UserError if it is of another account."""
    from greenllm.documents.verification import Verification
    from greenllm.errors import UserError
    from greenllm.files import sha256_of

    found = Verification.read(arguments.verification, remedy="run `greenllm verify --record` again")
    if found.account_sha256 != sha256_of(arguments.account):
        raise UserError(
            f"{arguments.verification}: account_sha256: is not that of {arguments.account}; the account was made again "
            "since, so run `greenllm verify --record` again"
        )
    return found
