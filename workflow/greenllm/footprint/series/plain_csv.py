"""Plain CSV: a column of times, a column of values with their unit, and, if there are, their bounds.

    time (Europe/Berlin),value (gCO2e/kWh),low (gCO2e/kWh),high (gCO2e/kWh)
    2026-01-31T13:00,312,290,340

Times have an offset or a Z, or the header names their time zone. An empty value is unknown.
"""

import csv
import re
from pathlib import Path

from greenllm.errors import UserError, listed
from greenllm.footprint.series.recorded import RecordedSeries
from greenllm.footprint.series.steps import Clock, TimeStep, number_of, series_of, unit_of, zone_of

_COLUMN = re.compile(r"\s*(?P<name>[^()]*?)\s*(\((?P<detail>[^()]*)\))?\s*")
_TIMES = ("time", "datetime", "date", "timestamp", "start")


def of_csv(rows: "csv.DictReader[str]", path: Path) -> RecordedSeries:
    """Return the series of the rows. Raises UserError for a header or a row that is not valid."""
    columns = list(rows.fieldnames or ())
    details = {column: _split(column) for column in columns}
    time = next((column for column in columns if details[column][0] in _TIMES), None)
    bounds = {name: next((c for c in columns if details[c][0] == name), None) for name in ("low", "high")}
    values = [column for column in columns if details[column][1] and column not in (time, *bounds.values())]
    if time is None or len(values) != 1:
        raise UserError(
            f"{path}: the header is {listed(columns) or 'empty'}; expected the columns `time` and `value (UNIT)`, "
            "such as value (gCO2e/kWh), and at most low and high besides"
        )
    unit = details[values[0]][1] or ""
    known = unit_of(unit, f"{path}: header")
    if any(unit_of(details[column][1] or unit, f"{path}: header") != known for column in bounds.values() if column):
        raise UserError(f"{path}: header: low and high need the unit of the value, {unit}")
    zone = details[time][1]
    clock = Clock(zone_of(zone, f"{path}: header") if zone else None)
    steps = []
    for cells in rows:
        where = f"{path}: row {rows.line_num}"
        if None in cells or None in cells.values():
            raise UserError(f"{where}: expected {len(columns)} cells, as many as the header has")
        steps.append(
            TimeStep(
                row=f"row {rows.line_num}",
                start=clock.read(cells[time], where),
                value=number_of(cells[values[0]], where),
                **{name: number_of(cells[column], where) for name, column in bounds.items() if column},
            )
        )
    return series_of(steps, path, unit=unit, place=None, source=path.name)


def _split(column: str) -> tuple[str, str | None]:
    """Return a column's name in lower case, and what is in parentheses behind it."""
    found = _COLUMN.fullmatch(column)
    return (found["name"].casefold(), found["detail"]) if found else (column.casefold(), None)
