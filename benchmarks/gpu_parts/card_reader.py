"""Reads a card's energy counter and its powers in a thread, beside the meter: what is compared with the meter."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pynvml

POLL_S = 0.005


@dataclass
class CardReader:
    """Readings of one card. A quantity that the card does not show is NaN."""

    uuid: str
    times_s: list[float] = field(default_factory=list)
    readings: list[tuple[float, float, float]] = field(default_factory=list)  # counter (J), mean and instant power (W)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "CardReader":
        pynvml.nvmlInit()
        self._card = pynvml.nvmlDeviceGetHandleByUUID(self.uuid)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def counter_J(self, begin_s: float, end_s: float) -> float | None:
        """Return what the counter grew by (J), between its renewals in a straight line; None without a counter."""
        times_s, values_J = self._renewals(0)
        if len(times_s) < 2:
            return None
        return float(np.diff(np.interp([begin_s, end_s], times_s, values_J))[0])

    def added_up_J(self, column: int, begin_s: float, end_s: float) -> float | None:
        """Return a power's readings times the time to the next one, added up (J); None without such a power."""
        times_s, values_W = self.power(column, begin_s, end_s)
        return float(np.trapezoid(values_W, times_s)) if len(times_s) > 1 else None

    def power(self, column: int, begin_s: float, end_s: float) -> "tuple[np.ndarray, np.ndarray]":
        """Return the times (s) and the readings (W) of the mean (1) or the instantaneous power (2) in a window."""
        times_s, values_W = np.array(self.times_s), np.array([reading[column] for reading in self.readings])
        inside = (times_s >= begin_s) & (times_s <= end_s) & np.isfinite(values_W)
        return times_s[inside], values_W[inside]

    def renewed_s(self, column: int) -> float | None:
        """Return the median time between two values (s); None where fewer than three were seen."""
        times_s, _ = self._renewals(column)
        return float(np.median(np.diff(times_s))) if len(times_s) > 2 else None

    def _renewals(self, column: int) -> "tuple[np.ndarray, np.ndarray]":
        """Return when the first and each new value was read, and the values."""
        times_s, values = np.array(self.times_s), np.array([reading[column] for reading in self.readings])
        known = np.isfinite(values)
        times_s, values = times_s[known], values[known]
        new = np.append(True, np.diff(values) != 0)[: len(values)]
        return times_s[new], values[new]

    def _read(self) -> None:
        while not self._done.wait(POLL_S):
            self.readings.append((self._counter_J(), self._mean_W(), self._instant_W()))
            self.times_s.append(time.monotonic())

    def _counter_J(self) -> float:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._card)) * 1e-3
        except pynvml.NVMLError:
            return float("nan")

    def _mean_W(self) -> float:
        try:
            return float(pynvml.nvmlDeviceGetPowerUsage(self._card)) * 1e-3
        except pynvml.NVMLError:
            return float("nan")

    def _instant_W(self) -> float:
        try:
            (field,) = pynvml.nvmlDeviceGetFieldValues(self._card, [pynvml.NVML_FI_DEV_POWER_INSTANT])
        except pynvml.NVMLError:
            return float("nan")
        return float(field.value.uiVal) * 1e-3 if field.nvmlReturn == pynvml.NVML_SUCCESS else float("nan")
