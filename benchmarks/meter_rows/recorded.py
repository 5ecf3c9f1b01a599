"""A recorded trace: an RTX 3090's own readings against an external meter's."""

import csv
import gzip
from pathlib import Path

import numpy as np

from greenllm.attribution.calibration import Series, fit
from greenllm.attribution.polled_power import polled_power
from meter_rows.row import Row, percent
from meter_rows.workbench import Workbench

WANTED = 0.01
# The times (s) over which this card's readings are averaged: that of nvmlDeviceGetPowerUsage, then that of
# NVML_FI_DEV_POWER_INSTANT (arXiv 2312.02741: Ampere except GA100; the second time is derived from the recording).
READINGS = {"1 s average": ("power_draw_average_W", 1.0), "instantaneous": ("power_draw_instant_W", 0.1)}
LAGS_s = (-0.2, 0.5)  # between the two meters


def rtx3090(bench: Workbench) -> list[Row]:
    """Calibrate the polled power on the first half of the recording, and compare on the second.

    The recording is Z. Yang, K. Adamek, W. Armour's ("Part-time Power Measurements", SC24; data under the MIT licence):
    the readings of nvidia-smi, and the true power on the card's supply lines.
    """
    what = "recorded RTX 3090, second half"
    if bench.traces is None:
        return [Row(what, "skipped: needs --traces", "", "", "at most 1 %", None)]
    times, power_W = _columns(bench.traces / "rtx3090-square-true.csv.gz", "power_W")
    true = _integral(times, power_W)
    rows = []
    for reading, (column, averaging_s) in READINGS.items():
        times, power_W = _columns(bench.traces / "rtx3090-square-polled.csv.gz", column)
        polled, naive = polled_power(times, power_W), _integral(times, power_W)
        half_s = float(times[-1] / 2)
        window_s = np.array([half_s, times[-1] - LAGS_s[1] - averaging_s])  # later power is not in the readings
        first = fit(_until(true, half_s), {"gpu": _until(polled, half_s)}, lags_s=LAGS_s, averaging_s=averaging_s)
        truth_J = float(true.growth(window_s)[0])
        calibrated = first.energy_J({"gpu": polled}, *window_s) / truth_J - 1
        raw = float(naive.growth(window_s)[0]) / truth_J - 1
        whole = np.array([times[0], times[-1]])
        of_all = percent(naive.growth(whole)[0] / true.growth(whole)[0] - 1)
        text = f"{percent(calibrated)} calibrated; readings simply added up: {percent(raw)} ({of_all} of the whole)"
        none = ("not run: has no calibration",) * 2
        rows.append(Row(f"{what}, {reading}", text, *none, "at most 1 %", abs(calibrated) <= WANTED))
    return rows


def _columns(path: Path, column: str) -> tuple["np.ndarray", "np.ndarray"]:
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    return np.array([float(row["time_s"]) for row in rows]), np.array([float(row[column]) for row in rows])


def _integral(times: "np.ndarray", power_W: "np.ndarray") -> Series:
    return Series(times, np.concatenate([[0.0], np.cumsum((power_W[1:] + power_W[:-1]) / 2 * np.diff(times))]))


def _until(series: Series, end_s: float) -> Series:
    inside = series.times <= end_s
    return Series(series.times[inside], series.values[inside])
