"""A file with a series, of any format: which one it is, by what it holds."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.footprint.series import carbon_aware_sdk, electricity_maps, energy_charts, plain_csv, uk_carbon_intensity
from greenllm.footprint.series.recorded import RecordedSeries

# Of each format: whether a JSON value is of it, and its reader.
JSON_FORMATS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Path], RecordedSeries]], ...] = (
    (electricity_maps.is_json, electricity_maps.of_json),
    (uk_carbon_intensity.is_json, uk_carbon_intensity.of_json),
    (carbon_aware_sdk.is_json, carbon_aware_sdk.of_json),
    (energy_charts.is_json, energy_charts.of_json),
)
EXPECTED = (
    "expected CSV with the columns `time` and `value (UNIT)`, a CSV or JSON file of Electricity Maps, or JSON of the "
    "UK Carbon Intensity API, of the carbon-aware-sdk or of energy-charts"
)


def read_series(path: Path, *, forecast: bool = False) -> RecordedSeries:
    """Return the series of a file; with `forecast`, values that are not known yet are those that are forecast.

    Raises UserError, one line that names the file and the row, if it can't be read, is of no known format, or a row is
    not valid.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {EXPECTED}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not in UTF-8 ({error})") from None
    if text.lstrip().startswith(("{", "[")):
        return _of_json(text, path, forecast)
    lines = text.splitlines()
    separator = max(",;\t", key=(lines or [""])[0].count)
    rows = csv.DictReader(lines, delimiter=separator, strict=True)
    try:
        if electricity_maps.is_csv(rows.fieldnames or ()):
            return electricity_maps.of_csv(rows, path)
        return plain_csv.of_csv(rows, path)
    except csv.Error as error:
        raise UserError(f"{path}: row {rows.line_num}: is not CSV ({error})") from None


def _of_json(text: str, path: Path, forecast: bool) -> RecordedSeries:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from None
    if forecast and uk_carbon_intensity.is_json(found):
        return uk_carbon_intensity.of_json(found, path, forecast=True)
    for is_of_format, read in JSON_FORMATS:
        if is_of_format(found):
            return read(found, path)
    raise UserError(f"{path}: is of no known format; {EXPECTED}")
