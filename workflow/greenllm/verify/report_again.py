"""The page, its tables and summary.json, made again from the account that was computed again."""

import tempfile
from pathlib import Path

from greenllm import __version__
from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError, shortened
from greenllm.report.language import speaking
from greenllm.report.page import language_of, write_report
from greenllm.report.tables import NAMED
from greenllm.report.tables.footprint import footprint_table
from greenllm.scheduling.document import ScheduleOutcome
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence
from greenllm.verify.made_again import compare_content

FIGURES = "figures"
# Tables that rules make and the page's command does not: they need not be there.
OF_RULES = ("efficiency", "impact")


def check_report(evidence: Evidence) -> CheckOutcome:
    """Make the report again in a temporary folder and compare it, file by file; drawings are left out."""
    check = Check("report", "page, tables and summary.json say what the account says", "values")
    folder, again = layout.located(layout.PAGE, evidence.folder).parent, evidence.again
    if not folder.is_dir():
        check.skip("the report: none has been made")
    elif isinstance(again, UserError):
        check.skip("the report: the account cannot be computed again")
    else:
        with tempfile.TemporaryDirectory(prefix="greenllm-verify-") as made:
            _make(again, evidence, Path(made))
            _compare_folders(check, evidence, Path(made), folder)
    return check.outcome()


def _make(account: Account, evidence: Evidence, folder: Path) -> None:
    footprint = _footprint(evidence)
    of_the_page = footprint if _page_names_a_footprint(evidence) else None
    write_report(account, folder, footprint=of_the_page, schedule=_schedule(evidence.folder), drawn=False)
    with speaking(language_of(account)):
        NAMED["efficiency"](account).write(folder / "tables/efficiency")
        if footprint is None:
            NAMED["impact"](account).write(folder / "tables/impact")
    if footprint is not None:
        footprint_table(account, footprint).write(folder / "tables/impact")


def _footprint(evidence: Evidence) -> Footprint | None:
    """Return the study's footprint, computed again where that can be done; None if none was made."""
    path, again = layout.located(layout.FOOTPRINT, evidence.folder), evidence.footprint_again
    if not path.is_file():
        return None
    return Footprint.read(path) if isinstance(again, UserError) else again


def _page_names_a_footprint(evidence: Evidence) -> bool:
    """Whether the page was made with a footprint, as it is where no ledger has the command that made it."""
    maker = evidence.maker_of(layout.PAGE)
    return maker is None or "--footprint" in (maker.start.command or [])


def _schedule(results: Path) -> ScheduleOutcome | None:
    """Return what a plan saved, which the page says; None if there was no plan."""
    path = layout.located(layout.SCHEDULE, results)
    return ScheduleOutcome.read(path) if path.is_file() else None


def _compare_folders(check: Check, evidence: Evidence, made: Path, folder: Path) -> None:
    made_by = evidence.account.packages.get("greenllm")
    absent = [name for name in OF_RULES if not list((folder / "tables").glob(f"{name}.*"))]
    for expected in sorted(path for path in made.rglob("*") if path.is_file()):
        name = expected.relative_to(made)
        found, place = folder / name, f"report/{name}"
        if name.parent.name == "tables" and name.stem in absent:
            continue
        if not found.is_file():
            check.find(place, "is missing")
        else:
            compare_content(check, evidence, place, expected.read_bytes(), found.read_bytes(), made_by == __version__)
    there = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    others = [
        path.as_posix()
        for path in sorted(there)
        if not (made / path).is_file() and path.parts[0] != FIGURES and path.stem not in OF_RULES
    ]
    if others:
        check.skip(f"{len(others)} files in report/ that the report does not make: {shortened(', '.join(others))}")
    for table in absent:
        check.skip(f"the table {table}: none has been made")
    if made_by != __version__:
        check.skip(
            f"the wording of page and tables: made by greenllm {made_by}, this is {__version__}, which may word them "
            "otherwise"
        )
    drawings = len(list((folder / FIGURES).glob("*")))
    check.skip(f"{drawings} drawings: fonts and libraries change them (their hashes, where recorded: files)")
