"""The UK's Carbon Intensity API (carbonintensity.org.uk): national and regional answers, half hours.

The actual carbon counts; where it is not known yet, the half hour is unknown, unless a forecast is asked for. Regions
have forecasts alone.
"""

from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.footprint.series.recorded import RecordedSeries
from greenllm.footprint.series.steps import CARBON_UNIT, Clock, TimeStep, number_of, series_of

SOURCE = "UK Carbon Intensity API"


def is_json(found: Any) -> bool:
    """Whether a JSON value is an answer of the API."""
    rows = _rows(found)
    return bool(rows) and isinstance(rows[0], dict) and {"from", "to", "intensity"} <= rows[0].keys()


def of_json(found: Any, path: Path, *, forecast: bool = False) -> RecordedSeries:
    """Return the carbon of an answer: with `forecast` that, where the actual one is not known yet.

    Raises UserError for an entry that is not valid.
    """
    region = found["data"].get("shortname") if isinstance(found["data"], dict) else None
    key = "actual" if region is None else "forecast"
    clock = Clock(None)
    steps: list[TimeStep] = []
    for number, entry in enumerate(_rows(found), start=1):
        where = f"{path}: entry {number}"
        intensity = entry.get("intensity") if isinstance(entry, dict) else None
        if not isinstance(intensity, dict) or not {"from", "to"} <= entry.keys():
            raise UserError(f"{where}: expected an object with from, to and intensity")
        start, end = clock.read(str(entry["from"]), where), clock.read(str(entry["to"]), where)
        if end <= start:
            raise UserError(f"{where}: ends at {entry['to']}, but starts at {entry['from']}; correct one of them")
        value = number_of(intensity.get(key), where)
        if value is None and forecast:
            value = number_of(intensity.get("forecast"), where)
        steps.append(TimeStep(f"entry {number}", start, value, end))
    place = "GBR" if region is None else f"GBR, {region}"
    return series_of(
        steps,
        path,
        unit=CARBON_UNIT,
        place=place,
        source=f"{SOURCE}, {key}{' and forecast' if forecast and key == 'actual' else ''}",
    )


def _rows(found: Any) -> list[Any]:
    data = found.get("data") if isinstance(found, dict) else None
    rows = data.get("data") if isinstance(data, dict) else data
    return rows if isinstance(rows, list) else []
