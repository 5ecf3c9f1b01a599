"""One attempt: the records of its ledger, and its samples as columns."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from greenllm.ledger.file import counter_columns
from greenllm.ledger.records import EndRecord, SensorRecord, StartRecord

Array = npt.NDArray[np.float64]
Rows = slice | npt.NDArray[np.intp]


@dataclass
class Attempt:
    """One attempt's ledger. `columns` maps a column's name to its readings, NaN where a reading failed."""

    start: StartRecord
    end: EndRecord | None
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
        return self.start.id

    @property
    def parent(self) -> str | None:
        """The id of the meter around this one."""
        return self.start.parent

    @property
    def boot_id(self) -> str:
        """The boot of the kernel on which it ran, by which hosts are distinguished."""
        return self.start.boot_id

    @property
    def sensors(self) -> list[SensorRecord]:
        """The sensors of its host."""
        return self.start.sensors

    @property
    def gpus(self) -> list[str]:
        """UUIDs of the GPUs it held."""
        return [gpu.uuid for gpu in self.start.gpus]

    @cached_property
    def _order(self) -> Rows:
        return _by_time(self.columns["monotonic_s"])

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
        """Wall clock minus CLOCK_MONOTONIC (s); the median, so that a step of the wall clock has no effect."""
        offsets = self.columns["wall_s"] - self.columns["monotonic_s"]
        offsets = offsets[np.isfinite(offsets)]
        return float(np.median(offsets)) if len(offsets) else 0.0

    def reads(self, column: str) -> bool:
        """Whether a host column was read twice or more; otherwise its growth is unknown."""
        return len(self._course(column)[1]) > 0

    def series_as_read(self, column: str) -> tuple[Array, Array]:
        """Return a host column's times and readings, without the failed ones."""
        return _without_failed(self.times, self.columns[column][self._order])

    def series(self, column: str) -> tuple[Array, Array]:
        """Return a host column's times and readings, without the failed ones, and never falling."""
        times, values = self.series_as_read(column)
        return times, np.maximum.accumulate(values)

    def readings(self, sensor: SensorRecord) -> tuple[Array, Array]:
        """Return the times (ascending) and raw readings of a counter or gauge, without the failed ones."""
        when, raw = (self.columns[name] for name in counter_columns(sensor.component, sensor.device))
        when, raw = _without_failed(when, raw)
        order = _by_time(when)
        return when[order], raw[order]

    def has_read(self, column: str) -> bool:
        """Whether the ledger has a host column, and one of its readings succeeded."""
        return column in self.columns and bool(np.isfinite(self.columns[column]).any())

    def levels(self, column: str, at_s: Array) -> Array:
        """Return a host column's last reading at given times; before the first one, the first.

        One reading at least must have succeeded (`has_read`).
        """
        times, values = self.series_as_read(column)
        return values[np.maximum(0, np.searchsorted(times, at_s, side="right") - 1)]

    def slopes(self, column: str, at_s: Array) -> Array:
        """Return a host column's growth per second at given times (ascending), between its neighbouring samples."""
        times, slopes = self._course(column)
        if not len(slopes):
            return np.zeros_like(at_s)
        first, last = np.clip(np.searchsorted(times, at_s[[0, -1]], side="right") - 1, 0, len(slopes) - 1)
        begins = np.concatenate([[0], np.searchsorted(at_s, times[first + 1 : last + 1]), [len(at_s)]])
        return np.repeat(slopes[first : last + 1], np.diff(begins))

    def _course(self, column: str) -> tuple[Array, Array]:
        """Return a host column's times, and its growth per second between them."""
        if column not in self._slopes:
            times, values = self.series(column)
            self._slopes[column] = times, np.diff(values) / np.diff(times)
        return self._slopes[column]

    def without_samples_between(self) -> "Attempt":
        """Return the attempt with only the first and last sample of itself and of each column."""
        kept = {0}
        for values in self.columns.values():
            good = np.flatnonzero(np.isfinite(values))
            if len(good):
                kept |= {int(good[0]), int(good[-1]), int(good[np.argmax(values[good])])}
        rows = sorted(kept) if len(self.columns["monotonic_s"]) else []
        thin = replace(self, columns={name: values[rows] for name, values in self.columns.items()}, _slopes={})
        thin.wall_offset_s = self.wall_offset_s
        return thin


def _by_time(times: Array) -> Rows:
    """Return the rows that have a time, in its order, each time once."""
    if np.isfinite(times).all() and (np.diff(times) > 0).all():  # as meters write them: no copy is needed
        return slice(None)
    order = np.flatnonzero(np.isfinite(times))
    return order[np.unique(times[order], return_index=True)[1]]


def _without_failed(times: Array, values: Array) -> tuple[Array, Array]:
    good = np.isfinite(times) & np.isfinite(values)
    return (times, values) if good.all() else (times[good], values[good])
