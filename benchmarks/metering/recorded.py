"""A recorded trace: an RTX 3090's own readings beside an external meter's."""

import csv
import gzip
from pathlib import Path

import numpy as np

from greenllm.attribution.calibration import Series, fit
from greenllm.attribution.polled import polled_power
from metering.row import Row, percent
from metering.workbench import Workbench

TRACES = Path(__file__).parents[3] / "shared/data/power-traces"
WANTED = 0.01
AVERAGING_s = 1.0  # what the card's reading is the mean of (arXiv 2312.02741: Ampere but GA100)


def rtx3090(bench: Workbench) -> list[Row]:
    """Calibrate the polled power on the first half of the recording, and compare on the second."""
    what = "recorded RTX 3090, polled power, second half"
    if not TRACES.is_dir():
        return [Row(what, f"skipped: no {TRACES}", "", "", "at most 1 %", None)]
    polled = polled_power(*_columns("rtx3090-square-polled.csv.gz", "power_draw_W"))
    times, power_W = _columns("rtx3090-square-true.csv.gz", "power_W")
    true = Series(times, np.concatenate([[0.0], np.cumsum((power_W[1:] + power_W[:-1]) / 2 * np.diff(times))]))
    half_s, end_s = float(times[-1] / 2), float(times[-1])
    first = fit(_until(true, half_s), {"gpu": _until(polled, half_s)}, lags_s=(0.0, 0.0), averaging_s=AVERAGING_s)
    truth_J = float(true.growth(np.array([half_s, end_s]))[0])
    raw = float(polled.growth(np.array([half_s, end_s]))[0]) / truth_J - 1
    off = first.energy_J({"gpu": polled}, half_s, end_s - AVERAGING_s / 2) / truth_J - 1
    text = f"{percent(off)} calibrated, {percent(raw)} not"
    none = "has no calibration"
    return [Row(what, text, none, none, "at most 1 %", abs(off) <= WANTED)]


def _columns(name: str, column: str) -> tuple["np.ndarray", "np.ndarray"]:
    with gzip.open(TRACES / name, "rt") as file:
        rows = list(csv.DictReader(file))
    return np.array([float(row["time_s"]) for row in rows]), np.array([float(row[column]) for row in rows])


def _until(series: Series, end_s: float) -> Series:
    inside = series.times <= end_s
    return Series(series.times[inside], series.values[inside])
