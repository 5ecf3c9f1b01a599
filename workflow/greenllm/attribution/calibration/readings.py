"""An external meter's readings: a CSV of time and power, or time and cumulative energy."""

import csv
import itertools
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from greenllm.attribution.merging import Series, Unknown
from greenllm.errors import UserError, listed, quoted
from greenllm.meter.units import BASE, Quantity, ReadingError, amount, is_unit, scale, unit_in

# Names of the quantities' columns in messages; columns of other units are accepted, too (power_kW, energy_mJ).
QUANTITIES = ("power_W", "energy_J", "energy_Wh", "energy_kWh")
COLUMNS = ("time", *QUANTITIES)
# Power between two readings is unknown if they are more than this number of median distances apart.
GAP = 5


def unix_s(text: str) -> float:
    """Return the Unix time of an RFC 3339 time, or of a number of Unix seconds. Raises ValueError for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            raise ValueError(text) from None
        seconds = moment.timestamp()
    if not math.isfinite(seconds):
        raise ValueError(text)
    return seconds


def read_readings(path: Path, names: Mapping[str, str], between: tuple[float, float] | None = None) -> Series:
    """Return the meter's cumulative energy in joules over Unix time.

    `names` maps "time", or a quantity and its unit, as "power_W" or "energy_kWh", to the file's name of the column; a
    unit in a cell has precedence. `between` drops readings outside two Unix times. Power is integrated by the
    trapezoidal rule; in gaps between its readings it is unknown. If an energy is constant between ticks, only the ticks
    are kept: only then is it known exactly.
    Raises UserError, with the row, for a file of another form.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            time_column, (meaning, column) = _columns(path, header, names)
            quantity, unit = quantity_of(meaning) or ("power", "W")
            readings = [
                (
                    rows.line_num,
                    _time(path, rows.line_num, row, time_column),
                    _number(path, rows.line_num, row, column, quantity, unit),
                )
                for row in rows
                if any(field.strip() for field in row)
            ]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a CSV of an external meter") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV in UTF-8 ({error})") from None
    for (_, before_s, _), (number, now_s, _) in itertools.pairwise(readings):
        if now_s <= before_s:
            raise UserError(f"{path}, row {number}: the time does not grow; sort the rows, leave out repeated times")
    if between is not None:
        readings = [reading for reading in readings if between[0] <= reading[1] <= between[1]]
    if len(readings) < 2:
        where = "" if between is None else " in the time given by --between"
        raise UserError(f"{path}: expected two readings or more{where}, found {len(readings)}")
    times, values = (np.array(column) for column in list(zip(*readings, strict=True))[1:])
    if quantity == "power":
        spans_s = np.diff(times)
        gaps = np.flatnonzero(spans_s > GAP * np.median(spans_s))
        energy_J = np.concatenate([[0.0], np.cumsum(spans_s * (values[1:] + values[:-1]) / 2)])
        return Series(times, energy_J, [Unknown(float(times[i]), float(times[i + 1]), "no readings") for i in gaps])
    steps = np.diff(values)
    if (steps < 0).any():
        number = readings[int(np.argmax(steps < 0)) + 1][0]
        raise UserError(f"{path}, row {number}: the energy falls; expected it cumulative (cut the file here)")
    ticks = np.concatenate([[(steps > 0).all()], steps > 0])
    if ticks.sum() < 2:
        raise UserError(f"{path}: the energy does not grow; is {meaning} the meter's cumulative energy?")
    return Series(times[ticks], values[ticks] - values[ticks][0])


def quantity_of(meaning: str) -> tuple[Quantity, str] | None:
    """Return quantity and unit of a name such as power_W or energy_kWh; None for any other name."""
    for quantity in BASE:
        unit = meaning.removeprefix(f"{quantity}_")
        if unit != meaning and scale(unit, quantity):
            return quantity, unit
    return None


def _columns(path: Path, header: list[str], names: Mapping[str, str]) -> tuple[int, tuple[str, int]]:
    """Return the place of the time's column, and the quantity's name with the place of its column."""
    for meaning, name in names.items():
        if name not in header:
            raise UserError(f"{path}: no column {name!r} (for {meaning}); it has {listed(header) or 'none'}")
    meanings = dict.fromkeys(["time", *names, *(name for name in header if quantity_of(name))])
    for meaning in meanings:
        places = [place for place, name in enumerate(header, 1) if name == names.get(meaning, meaning)]
        if len(places) > 1:
            raise UserError(
                f"{path}: the column {header[places[0] - 1]!r} is there twice, as column {places[0]} and column "
                f"{places[1]}; rename or remove one of them"
            )
    found = {meaning: header.index(name) for meaning in meanings if (name := names.get(meaning, meaning)) in header}
    quantities = [m for m in names if m != "time"] or [m for m in found if m != "time"]
    if "time" not in found or not quantities:
        raise UserError(
            f"{path}: expected a header with time and one of {', '.join(QUANTITIES)}; it has "
            f"{listed(header) or 'none'} (other names: --columns time=…,power_W=…)"
        )
    if len(quantities) > 1:
        raise UserError(f"{path}: {' and '.join(quantities)}: say which one to use, as in --columns {quantities[0]}=…")
    (meaning,) = quantities
    _check_unit(path, meaning, header[found[meaning]])
    return found["time"], (meaning, found[meaning])


def _check_unit(path: Path, meaning: str, name: str) -> None:
    """Raise UserError where a column's own name has another unit than its meaning."""
    quantity, unit = quantity_of(meaning) or ("power", "W")
    said = unit_in(name)
    if not said or scale(said, quantity) == scale(unit, quantity):
        return
    # A unit in the wrong case (mw) is that of --columns, if that differs in case alone (mW).
    if not is_unit(said) and said.lower() == unit.lower():
        return
    mended = next((f"write --columns {q}_{said}={name!r}" for q in BASE if scale(said, q)), None)
    if mended is None:
        mended = "rename it with its unit, as in power_mW"
    raise UserError(f"{path}: the column {name!r} says {said}, not {unit}: {mended}")


def _time(path: Path, number: int, row: list[str], column: int) -> float:
    text = row[column] if column < len(row) else ""
    try:
        return unix_s(text)
    except ValueError:
        raise UserError(
            f"{path}, row {number}: {quoted(text)} is no time; expected RFC 3339 with its zone (2026-01-31T12:00:00Z) "
            "or Unix seconds"
        ) from None


def _number(path: Path, number: int, row: list[str], column: int, quantity: Quantity, unit: str) -> float:
    """Return a cell's watts or joules."""
    text = row[column] if column < len(row) else ""
    try:
        return amount(text, quantity, unit)
    except ReadingError as error:
        raise UserError(f"{path}, row {number}: {error}; mend or leave out the row") from None
