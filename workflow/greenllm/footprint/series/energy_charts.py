"""Fraunhofer ISE's energy-charts: carbon (`co2eq`) and day-ahead prices (`price`), by Unix time."""

from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.footprint.series.recorded import RecordedSeries
from greenllm.footprint.series.steps import CARBON_UNIT, TimeStep, number_of, series_of

SOURCE = "energy-charts.info (Fraunhofer ISE)"
_VALUES = ("co2eq", "price")


def is_json(found: Any) -> bool:
    """Whether a JSON value is an answer about carbon or prices."""
    return isinstance(found, dict) and "unix_seconds" in found and any(key in found for key in _VALUES)


def of_json(found: Any, path: Path) -> RecordedSeries:
    """Return the carbon or the price of an answer. Raises UserError for a value that is not valid."""
    key = next(key for key in _VALUES if key in found)
    times, values = found["unix_seconds"], found[key]
    if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
        raise UserError(f"{path}: expected as many entries in {key} as in unix_seconds")
    steps = []
    for number, (time, value) in enumerate(zip(times, values, strict=True), start=1):
        where = f"{path}: entry {number}"
        start = number_of(time, where)
        if start is None:
            raise UserError(f"{where}: has no time in unix_seconds")
        steps.append(TimeStep(f"entry {number}", start, number_of(value, where)))
    unit = CARBON_UNIT if key == "co2eq" else str(found.get("unit", "EUR / MWh"))
    return series_of(steps, path, unit=unit, place=None, source=f"{SOURCE}, {key}")
