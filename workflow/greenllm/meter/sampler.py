"""Reads everything once: one sample of the ledger."""

import time
from collections.abc import Sequence

from greenllm.meter.host import ProcessorTimes
from greenllm.meter.ledger import HOST_COLUMNS, counter_columns
from greenllm.meter.process_tree import ProcessTree
from greenllm.meter.sensors import Sensor, SensorError


class Sampler:
    """Takes samples, as rows under `columns`. A reading that fails is None in its row, and told in `troubles`."""

    def __init__(self, sensors: Sequence[Sensor], leased: Sequence[str], tree: ProcessTree) -> None:
        """`leased` are the devices that are the job's own: whether others use them needs no look."""
        self._tree = tree
        self._processors = ProcessorTimes()
        self._counters = [sensor for sensor in sensors if sensor.read is not None]
        self._occupied = [s for s in self._counters if s.processes is not None and s.device not in leased]
        self._polled = [sensor for sensor in self._counters if sensor.poll_s is not None]
        self.troubles: dict[str, str] = {}
        self.columns = [
            *HOST_COLUMNS,
            *(name for s in self._counters for name in counter_columns(s.component, s.device)),
            *(f"{s.component}/{s.device}.processes" for s in self._occupied),
        ]

    @property
    def poll_s(self) -> float | None:
        """How often `poll` must be called, in seconds; None where no sensor needs it."""
        return min((s.poll_s for s in self._polled if s.poll_s is not None), default=None)

    def poll(self) -> None:
        """Let the sensors that integrate a power have a look at it."""
        for sensor in self._polled:
            self._read(sensor)

    def sample(self) -> list[float | None]:
        """Read everything and return the row."""
        busy_s, steal_s = self._processors.read()
        cpu_s = self._tree.cpu_s()
        row: list[float | None] = [
            round(time.monotonic(), 6),
            round(time.time(), 6),
            round(busy_s, 2),
            round(steal_s, 2),
            round(cpu_s, 6),
        ]
        for sensor in self._counters:
            raw = self._read(sensor)
            row += [round(time.monotonic(), 6), raw]
        row += [float(sensor.processes()) for sensor in self._occupied if sensor.processes]
        return row

    def _read(self, sensor: Sensor) -> float | None:
        assert sensor.read is not None
        try:
            raw = sensor.read()
        except SensorError as error:
            self.troubles.setdefault(sensor.device, str(error))
            return None
        return int(raw) if raw == int(raw) else round(raw, 6)
