"""The Green Software Foundation's carbon-aware-sdk: a list of location, time, rating and duration; or its forecast.

A forecast (`/emissions/forecasts/current`) is a list of objects with `forecastData`: location, timestamp, duration in
minutes, and value; `generatedAt` is when it was made.
"""

import re
from pathlib import Path
from typing import Any

from greenllm.errors import UserError, quoted
from greenllm.footprint.series.recorded import RecordedSeries
from greenllm.footprint.series.steps import CARBON_UNIT, Clock, TimeStep, number_of, series_of

SOURCE = "carbon-aware-sdk"
_DURATION = re.compile(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)")  # .NET's TimeSpan: days.hours:minutes:seconds


def is_json(found: Any) -> bool:
    """Whether a JSON value is an answer of the SDK, or one of its data files."""
    rows = _rows(found)
    return bool(rows) and isinstance(rows[0], dict) and {"time", "rating"} <= _plain(rows[0]).keys()


def of_json(found: Any, path: Path) -> RecordedSeries:
    """Return the carbon of an answer. Raises UserError for an entry that is not valid, and for several locations."""
    clock = Clock(None)
    steps: list[TimeStep] = []
    places: set[object] = set()
    for number, entry in enumerate(_rows(found), start=1):
        where = f"{path}: entry {number}"
        cells = _plain(entry) if isinstance(entry, dict) else {}
        if not {"time", "rating"} <= cells.keys():
            raise UserError(f"{where}: expected an object with time and rating")
        places.add(cells.get("location"))
        start = clock.read(str(cells["time"]), where)
        length_s = _seconds(str(cells.get("duration") or ""), where)
        end = start + length_s if length_s else None
        steps.append(TimeStep(f"entry {number}", start, number_of(cells["rating"], where), end))
    if len(places) > 1:
        raise UserError(f"{path}: has {len(places)} locations; expected one: take the file apart")
    place = next(iter(places), None)
    return series_of(
        steps,
        path,
        unit=CARBON_UNIT,
        place=None if place is None else str(place),
        source=SOURCE,
        issued=_issued(found, path),
    )


def _issued(found: Any, path: Path) -> float | None:
    """Return when a forecast was made (Unix time, s), the first of several; None where the file does not say it."""
    rows = [_plain(row) for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    times = [str(row["generatedat"]) for row in rows if row.get("generatedat") is not None]
    return min((Clock(None).read(one, f"{path}: generatedAt") for one in times), default=None)


def _rows(found: Any) -> list[Any]:
    rows = _plain(found).get("emissions") if isinstance(found, dict) else found
    if isinstance(rows, list) and rows and isinstance(rows[0], dict) and "forecastdata" in _plain(rows[0]):
        return [
            _as_rating(one) for row in rows if isinstance(row, dict) for one in _plain(row).get("forecastdata") or ()
        ]
    return rows if isinstance(rows, list) else []


def _as_rating(point: Any) -> Any:
    """Return a point of a forecast as a rating; anything else as it is, to be refused with its number."""
    cells = _plain(point) if isinstance(point, dict) else {}
    if not {"timestamp", "value"} <= cells.keys():
        return point
    minutes = cells.get("duration")
    length = f"00:{minutes}:00" if minutes else None
    return {"location": cells.get("location"), "time": cells["timestamp"], "rating": cells["value"], "duration": length}


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an object with its keys in lower case: the SDK's files begin them with capitals, its answers do not."""
    return {key.casefold(): value for key, value in entry.items()}


def _seconds(text: str, where: str) -> float:
    """Return a duration in s; 0 where there is none. Raises UserError if it is no duration."""
    if not text:
        return 0.0
    found = _DURATION.fullmatch(text)
    if not found:
        raise UserError(f"{where}: duration {quoted(text)}; expected hours:minutes:seconds such as 01:00:00")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
