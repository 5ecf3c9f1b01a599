"""The page, its tables and summary.json, made again from the account that was computed again."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from greenllm import __version__
from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError
from greenllm.report.page import write_report
from greenllm.report.tables import NAMED
from greenllm.report.verified import VERIFIED_LINE
from greenllm.scheduling.document import ScheduleOutcome
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.differences import close
from greenllm.verify.evidence import Evidence
from greenllm.verify.numbers import compare

DRAWING = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


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
            _make(again, _footprint(evidence.folder), _schedule(evidence.folder), Path(made))
            _compare_folders(check, evidence, Path(made), folder)
    return check.outcome()


def _footprint(results: Path) -> Footprint | None:
    """Return the footprint that the page was made with; None if there is none."""
    path = layout.located(layout.FOOTPRINT, results)
    return Footprint.read(path) if path.is_file() else None


def _schedule(results: Path) -> ScheduleOutcome | None:
    """Return what a plan saved, which the page says; None if there was no plan."""
    path = layout.located(layout.SCHEDULE, results)
    return ScheduleOutcome.read(path) if path.is_file() else None


def _make(account: Account, footprint: Footprint | None, schedule: ScheduleOutcome | None, folder: Path) -> None:
    write_report(account, folder, footprint=footprint, schedule=schedule)
    NAMED["efficiency"](account).write(folder / "tables/efficiency")


def _compare_folders(check: Check, evidence: Evidence, made: Path, folder: Path) -> None:
    made_by = evidence.account.packages.get("greenllm")
    drawings = 0
    for expected in sorted(path for path in made.rglob("*") if path.is_file()):
        name = expected.relative_to(made)
        found, place = folder / name, f"report/{name}"
        if name.parts[0] == "figures":
            drawings += 1
        elif not found.is_file():
            check.find(place, "is missing")
        elif name.suffix == ".json":
            _compare_json(check, evidence, place, expected, found)
        elif name.suffix == ".parquet":
            _compare_frames(check, place, *(_frame(path) for path in (expected, found)))
        elif name.suffix == ".csv":
            _compare_frames(check, place, *(_cells(path) for path in (expected, found)))
        elif made_by == __version__:
            _compare_lines(check, place, expected, found)
    if made_by != __version__:
        check.skip(
            f"the wording of page and tables: made by greenllm {made_by}, this is {__version__}, which may word them "
            "otherwise"
        )
    check.skip(f"{drawings} drawings: fonts and libraries change them (their hashes, where recorded: files)")


def _compare_json(check: Check, evidence: Evidence, place: str, expected: Path, found: Path) -> None:
    try:
        written = json.loads(found.read_text(encoding="utf-8"))
    except ValueError as error:
        check.find(place, "is no JSON object", found=error)
        return
    compare(check, place, json.loads(expected.read_text(encoding="utf-8")), written, evidence)


def _frame(path: Path) -> pd.DataFrame | None:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):  # pyarrow's errors are both
        return None


def _cells(path: Path) -> pd.DataFrame | None:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError):  # pandas' parser errors are ValueErrors
        return None


def _compare_frames(check: Check, place: str, expected: pd.DataFrame | None, found: pd.DataFrame | None) -> None:
    if expected is None or found is None:
        check.expect(expected is None and found is None, place, "can't be read")
        return
    check.expect(
        list(expected.columns) == list(found.columns),
        place,
        "has other columns",
        ", ".join(expected.columns),
        ", ".join(found.columns),
    )
    check.expect(len(expected) == len(found), place, "has another number of rows", len(expected), len(found))
    for name in (name for name in expected.columns if name in found.columns):
        for row, (one, other) in enumerate(zip(expected[name], found[name], strict=False), start=1):
            check.expect(_same(one, other), f"{place}: row {row}, {name}", "differs", one, other)


def _same(expected: Any, found: Any) -> bool:
    """Whether two cells are equal; numbers except for rounding."""
    if str(expected) == str(found):
        return True
    try:
        return close(float(expected), float(found))
    except (TypeError, ValueError):
        return False


def _compare_lines(check: Check, place: str, expected: Path, found: Path) -> None:
    one, other = (_lines(path) for path in (expected, found))
    check.count(len(one))
    unequal = [number for number, lines in enumerate(zip(one, other, strict=False)) if lines[0] != lines[1]]
    if len(one) != len(other):  # all lines after the first difference are shifted
        check.find(place, "has another number of lines", len(one), len(other))
        unequal = unequal[:1]
    for number in unequal:
        check.find(f"{place}: line {number + 1}", "differs", *_around(one[number], other[number]))


def _lines(path: Path) -> list[str]:
    """Return a text's lines, without drawings and without the line that says whether the page is verified."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    return DRAWING.sub("", VERIFIED_LINE.sub("", text)).splitlines()


def _around(line: str, written: str) -> tuple[str, str]:
    """Return two lines from a little before their first difference."""
    at = next((i for i, (a, b) in enumerate(zip(line, written, strict=False)) if a != b), min(len(line), len(written)))
    start = max(0, at - 30)
    return line[start : at + 60].strip(), written[start : at + 60].strip()
