"""A file that was made again, compared with the one that is there, by what its kind of file says."""

import io
import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from greenllm.report.verified import VERIFIED_LINE
from greenllm.verify.check import Check
from greenllm.verify.differences import close, differences, values
from greenllm.verify.evidence import Evidence
from greenllm.verify.numbers import compare

DRAWING = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


def compare_content(
    check: Check, evidence: Evidence, place: str, expected: bytes, found: bytes, words: bool = True
) -> None:
    """Compare JSON by its values, CSV and Parquet by their cells, and other texts line by line.

    Numbers are equal except for rounding. `words`: whether texts are compared; drawings in them are left out.
    """
    suffix = PurePosixPath(place).suffix
    if suffix == ".json":
        _compare_json(check, evidence, place, expected, found)
    elif suffix == ".parquet":
        _compare_frames(check, place, *(_frame(pd.read_parquet, content) for content in (expected, found)))
    elif suffix == ".csv":
        _compare_frames(check, place, *(_frame(_cells, content) for content in (expected, found)))
    elif words:
        _compare_lines(check, place, expected, found)


def _compare_json(check: Check, evidence: Evidence, place: str, expected: bytes, found: bytes) -> None:
    try:
        written = json.loads(found)
    except ValueError as error:  # not JSON, or not UTF-8
        check.find(place, "is no JSON", found=error)
        return
    made = json.loads(expected)
    if isinstance(made, dict) and isinstance(written, dict):
        compare(check, place, made, written, evidence)
        return
    check.count(values(made))
    for one in differences(made, written):
        check.find(f"{place}: {one.place}", one.what, one.expected, one.found)


def _frame(read: Callable[[Any], pd.DataFrame], content: bytes) -> pd.DataFrame | None:
    try:
        return read(io.BytesIO(content))
    except (OSError, ValueError):  # the errors of pandas and pyarrow are ones of these
        return None


def _cells(content: Any) -> pd.DataFrame:
    return pd.read_csv(content, dtype=str, keep_default_na=False)


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


def _compare_lines(check: Check, place: str, expected: bytes, found: bytes) -> None:
    one, other = (_lines(content) for content in (expected, found))
    check.count(len(one))
    unequal = [number for number, lines in enumerate(zip(one, other, strict=False)) if lines[0] != lines[1]]
    if len(one) != len(other):  # all lines after the first difference are shifted
        check.find(place, "has another number of lines", len(one), len(other))
        unequal = unequal[:1]
    for number in unequal:
        check.find(f"{place}: line {number + 1}", "differs", *_around(one[number], other[number]))


def _lines(content: bytes) -> list[str]:
    """Return a text's lines, without drawings and without the line that says whether the page is verified."""
    text = content.decode("utf-8", errors="replace")
    return DRAWING.sub("", VERIFIED_LINE.sub("", text)).splitlines()


def _around(line: str, written: str) -> tuple[str, str]:
    """Return two lines from a little before their first difference."""
    at = next((i for i, (a, b) in enumerate(zip(line, written, strict=False)) if a != b), min(len(line), len(written)))
    start = max(0, at - 30)
    return line[start : at + 60].strip(), written[start : at + 60].strip()
