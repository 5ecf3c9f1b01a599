"""Electricity Maps: the yearly CSV files of its data portal, and the JSON of its history, past range and forecast."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.footprint.series.recorded import RecordedSeries
from greenllm.footprint.series.steps import CARBON_UNIT, Clock, TimeStep, number_of, series_of, zone_of

SOURCE = "Electricity Maps"
_TIME = "Datetime (UTC)"
_LIFE_CYCLE = ("life cycle", "lca")


def is_csv(columns: Sequence[str]) -> bool:
    """Whether a CSV file's header is that of the data portal."""
    return _TIME in columns and any(column.casefold().startswith("carbon intensity") for column in columns)


def of_csv(rows: "csv.DictReader[str]", path: Path) -> RecordedSeries:
    """Return the life-cycle carbon of a file of the data portal. Raises UserError for a row that is not valid."""
    columns = list(rows.fieldnames or ())
    carbon = [column for column in columns if column.casefold().startswith("carbon intensity")]
    life_cycle = [column for column in carbon if any(word in column.casefold() for word in _LIFE_CYCLE)]
    column = (life_cycle or carbon)[0]
    zone_column = next((name for name in columns if name.casefold() == "zone id"), None)
    clock = Clock(zone_of("UTC", str(path)))
    steps: list[TimeStep] = []
    zones: set[str | None] = set()
    for cells in rows:
        where = f"{path}: row {rows.line_num}"
        if cells[_TIME] is None or cells[column] is None:
            raise UserError(f"{where}: expected {len(columns)} cells, as many as the header has")
        zones.add(cells.get(zone_column or ""))
        steps.append(TimeStep(f"row {rows.line_num}", clock.read(cells[_TIME], where), number_of(cells[column], where)))
    if len(zones) > 1:
        raise UserError(f"{path}: has {len(zones)} zones; expected one: take the file apart")
    kind = "life cycle" if life_cycle else "direct"
    return series_of(steps, path, unit=CARBON_UNIT, place=next(iter(zones), None), source=f"{SOURCE}, {kind}")


def is_json(found: Any) -> bool:
    """Whether a JSON value is an answer of the interfaces `history`, `past-range` or `forecast`."""
    return isinstance(found, dict) and "zone" in found and isinstance(_entries(found), list)


def _entries(found: dict[str, Any]) -> Any:
    return next((found[key] for key in ("history", "data", "forecast") if key in found), None)


def of_json(found: Any, path: Path) -> RecordedSeries:
    """Return the carbon of an answer. Raises UserError for an entry that is not valid."""
    clock = Clock(None)
    steps: list[TimeStep] = []
    kinds: set[str] = set()
    for number, entry in enumerate(_entries(found), start=1):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict) or "datetime" not in entry or "carbonIntensity" not in entry:
            raise UserError(f"{where}: expected an object with datetime and carbonIntensity")
        kinds.add(str(entry.get("emissionFactorType", "lifecycle")))
        steps.append(
            TimeStep(
                f"entry {number}", clock.read(str(entry["datetime"]), where), number_of(entry["carbonIntensity"], where)
            )
        )
    source = ", ".join((SOURCE, *sorted(kinds)))
    updated = found.get("updatedAt")
    issued = None if updated is None else Clock(None).read(str(updated), f"{path}: updatedAt")
    return series_of(steps, path, unit=CARBON_UNIT, place=str(found["zone"]), source=source, issued=issued)
