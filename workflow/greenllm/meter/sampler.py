"""Reads all sensors once for a sample of the ledger; between samples, polls those that are renewed at intervals."""

import time
from collections.abc import Sequence

from greenllm.ledger.file import BUSY, HOST_COLUMNS, MEMORY_COLUMNS, TREE_MEMORY, counter_columns, memory_column
from greenllm.meter.change_detection import POLL_S, RENEWAL_S, RENEWALS_AT_EDGE, Watch
from greenllm.meter.host import BusyTimeError, Memory, ProcessorTimes
from greenllm.meter.overlap import alike
from greenllm.meter.process_tree import ProcessTree
from greenllm.meter.sensors import NoAnswerYetError, Sensor, SensorError
from greenllm.meter.tree_memory import HiddenMemoryError, TreeMemory
from greenllm.meter.usage import MemoryUse

Row = list[float | None]

# Two zones may show one counter. If their counts differ in a sample, they are read again: at most READ_AGAIN times,
# BETWEEN_S seconds apart. Zones that differed in SURELY samples show different counters.
READ_AGAIN, BETWEEN_S, SURELY = 5, 2e-4, 3


class Sampler:
    """Takes samples, as rows under `columns`. A reading that fails is None in its row; `troubles` says why.

    `memory` holds the use of each leased GPU's memory; `awaited` are the devices whose first answer has not come yet.
    """

    def __init__(self, sensors: Sequence[Sensor], leased: Sequence[str], tree: ProcessTree) -> None:
        """`leased` are the job's own devices, polled between samples; of other GPUs, processes are counted."""
        self._tree = tree
        self._processors, self._host_memory, self._tree_memory = ProcessorTimes(), Memory(), TreeMemory()
        self._counters = [sensor for sensor in sensors if sensor.read is not None]
        self._alike, self._differed = alike(self._counters), dict[int, int]()
        self._occupied = [s for s in self._counters if s.processes is not None and s.device not in leased]
        self._used = [s for s in self._counters if s.memory is not None and s.device in leased]
        self._polled = [s for s in self._counters if s.poll_s is not None and s.gauge is None]
        own = [s for s in self._counters if s.device in leased]
        self._gauges = {s.device: Watch() for s in own if s.gauge is not None}
        self._slowest_s = max((s.gauge.refresh_s for s in own if s.gauge is not None), default=0.0)
        self._ticking = {s.device: Watch() for s in own if s.counter is not None and s.counter.ticks}
        self._edge_s, self._renewals, self._ended = float("-inf"), 0, False
        self.troubles: dict[str, str] = {}
        self.awaited: set[str] = set()
        self.memory = {s.device: MemoryUse() for s in self._used}
        self.columns = [
            *HOST_COLUMNS,
            *MEMORY_COLUMNS,
            *(name for s in self._counters for name in counter_columns(s.component, s.device)),
            *(f"{s.component}/{s.device}.processes" for s in self._occupied),
            *(memory_column(s.device) for s in self._used),
        ]

    @property
    def host_memory_B(self) -> float | None:
        """The host's memory; None where the kernel does not say."""
        return self._host_memory.size_B

    @property
    def poll_s(self) -> float | None:
        """The time between two calls of `poll`, in seconds; None where no sensor needs it."""
        often = [
            s.poll_s for s in self._counters if s.poll_s is not None and (s.gauge is None or s.device in self._gauges)
        ]
        if self.at_edge:
            often.append(POLL_S)
        return min(often, default=None)

    @property
    def tick_s(self) -> dict[str, float]:
        """The refresh period, in seconds, of each device that ticked."""
        return {device: period_s for device, w in self._ticking.items() if (period_s := w.period_s) is not None}

    @property
    def at_edge(self) -> bool:
        """Whether the job's start or end is still being polled closely."""
        since_s = time.monotonic() - self._edge_s
        if self._ended and since_s < self._slowest_s:
            return True  # a gauge that shows the same may have been renewed; after its period it certainly was
        return since_s < RENEWAL_S and not all(w.has_changed(self._renewals) for w in self._ticking.values())

    def begin_edge(self, renewals: int = RENEWALS_AT_EDGE, ended: bool = False) -> None:
        """Poll closely until each ticking counter was renewed `renewals` times: the job begins or has just ended."""
        self._edge_s, self._renewals, self._ended = time.monotonic(), renewals, ended
        for watch in self._ticking.values():
            watch.begin_edge()

    def watch_edge(self) -> list[Row]:
        """Poll closely until the edge has passed; return the rows of that."""
        rows = []
        while self.at_edge:
            rows += self.poll()
            time.sleep(POLL_S)
        return rows

    def poll(self) -> list[Row]:
        """Poll the sensors that need it between samples; return rows of the readings just before and after changes."""
        for sensor in self._polled:
            self._read(sensor)
        rows = []
        watches = self._gauges | (self._ticking if self.at_edge else {})
        for i, sensor in enumerate(self._counters):
            watch = watches.get(sensor.device)
            if watch is None or (raw := self._read(sensor)) is None:
                continue
            rows += [self._between(i, reading) for reading in watch.poll(round(time.monotonic(), 6), raw)]
        return rows

    def _between(self, i: int, reading: tuple[float, float]) -> Row:
        """Return a row that holds one counter's reading alone."""
        row: Row = [None] * len(self.columns)
        first = len(HOST_COLUMNS) + len(MEMORY_COLUMNS) + 2 * i
        row[first : first + 2] = reading
        return row

    def sample(self) -> list[Row]:
        """Read everything; return the sample's row last, after rows of the readings just before changes."""
        frames: list[Row] = []
        busy_s, steal_s = self._busy_and_steal_s()
        cpu_s = self._tree.cpu_s()
        row: Row = [
            round(time.monotonic(), 6),
            round(time.time(), 6),
            busy_s,
            steal_s,
            round(cpu_s, 6),
            self._tree_memory_B(),
            self._host_memory.used_B(),
        ]
        readings = [(self._read(sensor), round(time.monotonic(), 6)) for sensor in self._counters]
        for group in self._alike:
            if self._differed.get(group[0], 0) < SURELY:
                self._read_again(group, readings)
        for i, (sensor, (raw, when_s)) in enumerate(zip(self._counters, readings, strict=True)):
            row += [when_s, raw]
            watch = self._gauges.get(sensor.device) or self._ticking.get(sensor.device)
            if watch is not None and raw is not None:
                frames += [self._between(i, reading) for reading in watch.sampled(when_s, raw)]
        row += [float(sensor.processes()) for sensor in self._occupied if sensor.processes]
        for sensor in self._used:
            used_B = sensor.memory() if sensor.memory else None
            self.memory[sensor.device].add(used_B)
            row.append(used_B)
        return [*frames, row]

    def _read_again(self, group: Sequence[int], readings: list[tuple[float | None, float]]) -> None:
        """Read again counters that may be one, while they all differ: a counter renewed in between shows two counts.

        Counters that differed in several samples are not one, and are not read again from then on.
        """
        for _ in range(READ_AGAIN):
            if len({readings[i][0] for i in group}) < len(group):
                return
            time.sleep(BETWEEN_S)
            for i in group:
                readings[i] = self._read(self._counters[i]), round(time.monotonic(), 6)
        self._differed[group[0]] = self._differed.get(group[0], 0) + 1

    def _busy_and_steal_s(self) -> tuple[float | None, float | None]:
        try:
            busy_s, steal_s = self._processors.read()
        except BusyTimeError as error:
            self.troubles[BUSY] = str(error)
            return None, None
        return round(busy_s, 2), round(steal_s, 2)

    def _tree_memory_B(self) -> float | None:
        try:
            return self._tree_memory.used_B(self._tree.seen())
        except HiddenMemoryError as error:
            self.troubles[TREE_MEMORY] = str(error)
            return None

    def _read(self, sensor: Sensor) -> float | None:
        assert sensor.read is not None
        self.awaited.discard(sensor.device)
        try:
            raw = sensor.read()
            return int(raw) if raw == int(raw) else round(raw, 6)
        except SensorError as error:
            self.troubles[sensor.device] = str(error)
            if isinstance(error, NoAnswerYetError):
                self.awaited.add(sensor.device)
            return None
        except Exception as error:  # an error in a sensor must not end the metering of the job
            self.troubles[sensor.device] = f"{type(error).__name__}: {error}"
            return None
