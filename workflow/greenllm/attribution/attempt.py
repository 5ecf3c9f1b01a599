"""One attempt, as its ledger tells it, with its samples as columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from greenllm.meter.ledger import counter_columns

Array = npt.NDArray[np.float64]


def identity_of(sensor: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a sensor's component, device and method: what tells sensors of one host apart."""
    return sensor["component"], sensor["device"], sensor["method"]


@dataclass
class Attempt:
    """One attempt's ledger. `columns` maps a column's name to its readings, NaN where a reading failed."""

    start: dict[str, Any]
    end: dict[str, Any] | None
    status: str
    columns: dict[str, Array]
    path: str = ""
    bytes: int = 0
    sha256: str = ""
    corrupt_lines: int = 0
    _slopes: dict[str, tuple[Array, Array]] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """The attempt's id."""
        return str(self.start["id"])

    @property
    def parent(self) -> str | None:
        """The id of the meter around this one."""
        return self.start.get("parent")

    @property
    def boot_id(self) -> str:
        """The boot of the kernel it ran on: what tells hosts apart."""
        return str(self.start["boot_id"])

    @property
    def sensors(self) -> list[dict[str, Any]]:
        """The sensors' descriptions."""
        return list(self.start["sensors"])

    @property
    def gpus(self) -> list[str]:
        """UUIDs of the GPUs it held."""
        return [str(gpu["uuid"]) for gpu in self.start.get("gpus", [])]

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        """Rows in order of time, each time once."""
        times = self.columns["monotonic_s"]
        order = np.flatnonzero(np.isfinite(times))
        return order[np.unique(times[order], return_index=True)[1]]

    @cached_property
    def times(self) -> Array:
        """CLOCK_MONOTONIC of the samples in seconds, ascending."""
        return self.columns["monotonic_s"][self._order]

    @property
    def first_s(self) -> float:
        """When its first sample was taken (CLOCK_MONOTONIC, s)."""
        return float(self.times[0])

    @property
    def last_s(self) -> float:
        """When its last sample was taken (CLOCK_MONOTONIC, s)."""
        return float(self.times[-1])

    @cached_property
    def wall_offset_s(self) -> float:
        """Wall clock minus CLOCK_MONOTONIC; the median, so that a step of the wall clock does no harm."""
        offsets = self.columns["wall_s"] - self.columns["monotonic_s"]
        offsets = offsets[np.isfinite(offsets)]
        return float(np.median(offsets)) if len(offsets) else 0.0

    def series_as_read(self, column: str) -> tuple[Array, Array]:
        """Return a host column's times and readings, without the failed ones."""
        values = self.columns[column][self._order]
        good = np.isfinite(values)
        return self.times[good], values[good]

    def series(self, column: str) -> tuple[Array, Array]:
        """Return a host column's times and readings, without the failed ones, and never falling."""
        times, values = self.series_as_read(column)
        return times, np.maximum.accumulate(values)

    def counter(self, sensor: dict[str, Any]) -> tuple[Array, Array]:
        """Return a counter's times (ascending) and raw readings, without the failed ones."""
        when, raw = (self.columns[name] for name in counter_columns(sensor["component"], sensor["device"]))
        good = np.isfinite(when) & np.isfinite(raw)
        when, raw = when[good], raw[good]
        first = np.unique(when, return_index=True)[1]
        return when[first], raw[first]

    def slopes(self, column: str, at_s: Array) -> Array:
        """Return a host column's growth per second at given times, taken between its neighbouring samples."""
        if column not in self._slopes:
            times, values = self.series(column)
            self._slopes[column] = times, np.diff(values) / np.diff(times)
        times, slopes = self._slopes[column]
        if not len(slopes):
            return np.zeros_like(at_s)
        return slopes[np.clip(np.searchsorted(times, at_s, side="right") - 1, 0, len(slopes) - 1)]
