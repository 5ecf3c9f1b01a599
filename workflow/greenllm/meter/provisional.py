"""A job's provisional energy, for the energy log: computed by its own meter when the job ends.

The formula is attribution's (greenllm.attribution.sharing), for a job that is alone on its host: of other jobs the
meter only knows that the host was busy. `greenllm attribute` over all ledgers returns the final energy.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from greenllm.estimate import Estimate, Parameter, unseen
from greenllm.ledger.energy_log import Component
from greenllm.ledger.file import BUSY, HOST_MEMORY, TREE_MEMORY, counter_columns
from greenllm.meter.change_detection import UNREAD
from greenllm.meter.counter_growth import STOOD, UnknownGrowthError, growth, silent
from greenllm.meter.host import LEAST_BUSY, said_too_little
from greenllm.meter.overlap import Agreement, alike, notice, repeated
from greenllm.meter.sensors import Sensor

Row = Sequence[float | None]


class Provisional:
    """Adds up each sensor's energy from sample to sample, shared by the job's part of the host."""

    def __init__(
        self,
        sensors: Sequence[Sensor],
        columns: Sequence[str],
        leased: Iterable[str],
        cpus: int,
        reserved_cpus: float,
        job_id: str,
        wants_gpus: bool = True,
        memory_B: float | None = None,
        reserved_memory_B: float | None = None,
    ) -> None:
        """`leased`: the UUIDs of the job's GPUs; `cpus`: the host's processors; `job_id`: the name of the job's errors.

        `memory_B`: the host's memory (None: unknown); `reserved_memory_B`: what the job reserved of it.
        `wants_gpus`: the job asked for GPUs, so that one that cannot be read is a component without energy.
        """
        gpus = set(leased)
        self._sensors = [s for s in sensors if s.component != "gpu" or s.device in gpus or (wants_gpus and not s.terms)]
        self._column = {name: i for i, name in enumerate(columns)}
        self._cpus, self._reserved_cpus, self._job_id = cpus, reserved_cpus, job_id
        self._memory_B, self._reserved_memory_B = memory_B, reserved_memory_B or 0.0
        self._memory_in_use_B: dict[str, float] = {}
        self._previous: Row | None = None
        self._busy_s = self._cpu_s = 0.0  # since the first sample
        self._began: dict[str, float] = {}
        self._kernels_busy_s: float | None = None
        self._last_read: dict[int, tuple[float, float]] = {}
        self._known_s = [0.0] * len(self._sensors)  # between readings, where it is known what was counted
        self._still_s = [0.0] * len(self._sensors)  # since the counter moved
        self._unknown_why: dict[int, str] = {}
        self._agreements = {(i, j): Agreement() for group in alike(self._sensors) for i, j in combinations(group, 2)}
        self._own: list[dict[str, float]] = [{} for _ in self._sensors]
        self._counted: list[dict[str, float]] = [{} for _ in self._sensors]
        self._unseen: dict[str, Parameter] = {}
        self._changed_W = [0.0] * len(self._sensors)
        self._least_W, self._most_W = [math.inf] * len(self._sensors), [0.0] * len(self._sensors)

    def add(self, row: Row) -> None:
        """Add the next sample, or readings between samples."""
        if row[0] is None:
            self._add_gauges(row)
            return
        previous, self._previous = self._previous, row
        now_s, then_s = row[0], previous[0] if previous is not None and previous[0] is not None else row[0]
        span_s, (busy_s, own_s) = now_s - then_s, self._busy_growth(row)
        grown = {"time": span_s, "busy": busy_s}
        fraction = 0.0
        if span_s > 0:
            fraction = _part(own_s / span_s, busy_s / span_s, self._reserved_cpus, self._cpus)
        parts = {"gpu": 1.0, "dram": self._memory_part(fraction)}
        for (i, j), agreement in self._agreements.items():
            one, other = self._raw(i, row), self._raw(j, row)
            if one is not None and other is not None:
                agreement.add(one, other)
        for i, sensor in enumerate(self._sensors):
            part = parts.get(sensor.component, fraction)
            self._add(i, {**grown, "counter": self._counter_growth(i, sensor, row)}, part)
        for name in (TREE_MEMORY, HOST_MEMORY):
            if name in self._column and (reading_B := row[self._column[name]]) is not None:
                self._memory_in_use_B[name] = reading_B

    def _memory_part(self, otherwise: float) -> float:
        """The job's part of the host's memory since the last sample; `otherwise` where that is unknown.

        A reading holds until the next one (greenllm.attribution.memory).
        """
        if self._memory_B is None or not self._memory_in_use_B.keys() >= {TREE_MEMORY, HOST_MEMORY}:
            return otherwise
        own_B, used_B = self._memory_in_use_B[TREE_MEMORY], self._memory_in_use_B[HOST_MEMORY]
        return _part(own_B, used_B, self._reserved_memory_B, self._memory_B)

    def _busy_growth(self, row: Row) -> tuple[float, float]:
        """CPU seconds of the host and of the job since the previous sample.

        The host's busy time is the kernel's, and at least the job's.
        """
        readings = {name: row[self._column[name]] for name in ("monotonic_s", BUSY, "cpu_s")}
        grown = {}
        for name, reading in readings.items():
            if reading is not None:
                grown[name] = reading - self._began.setdefault(name, reading)
        self._kernels_busy_s = grown.get(BUSY, self._kernels_busy_s)
        cpu_s = max(self._cpu_s, grown.get("cpu_s", 0.0))
        least_s = min(cpu_s, self._cpus * grown.get("monotonic_s", 0.0))
        busy_s = max(self._busy_s, self._kernels_busy_s or 0.0, least_s)
        growths = busy_s - self._busy_s, cpu_s - self._cpu_s
        self._busy_s, self._cpu_s = busy_s, cpu_s
        return growths

    def _raw(self, i: int, row: Row) -> float | None:
        sensor = self._sensors[i]
        return row[self._column[counter_columns(sensor.component, sensor.device)[1]]]

    def _add_gauges(self, row: Row) -> None:
        """Add readings of gauges between samples."""
        for i, sensor in enumerate(self._sensors):
            if sensor.gauge is not None:
                self._add(i, {"counter": self._counter_growth(i, sensor, row), "time": 0.0, "busy": 0.0}, 1.0)

    def _add(self, i: int, grown: Mapping[str, float], part: float) -> None:
        for term in self._sensors[i].terms:
            energy = term.factor * grown[term.of]
            self._counted[i][term.parameter] = self._counted[i].get(term.parameter, 0.0) + energy
            self._own[i][term.parameter] = self._own[i].get(term.parameter, 0.0) + energy * part

    def _counter_growth(self, i: int, sensor: Sensor, row: Row) -> float:
        """Joules since the last reading that succeeded; of a gauge, its power over the time since.

        Where these are unknown, none are counted, and the time since is not covered.
        """
        if not sensor.counts:
            return 0.0
        when, raw = (row[self._column[name]] for name in counter_columns(sensor.component, sensor.device))
        if when is None or raw is None:
            return 0.0
        then, before = self._last_read.get(i, (when, raw))
        self._last_read[i] = when, raw
        span_s = when - then
        try:
            if sensor.gauge is not None:
                if span_s > sensor.gauge.unread_s:
                    raise UnknownGrowthError(UNREAD)
                self._changed_W[i] += abs(raw - before) * sensor.gauge.unit_W
                self._least_W[i] = min(self._least_W[i], raw * sensor.gauge.unit_W)
                self._most_W[i] = max(self._most_W[i], raw * sensor.gauge.unit_W)
                energy_J = (raw + before) / 2 * sensor.gauge.unit_W * span_s
            else:
                counter = sensor.counter
                assert counter is not None
                silent_s = counter.silent_s
                if silent_s is not None and (span_s > silent_s or raw < before):
                    raise UnknownGrowthError(silent(silent_s))
                energy_J = growth(before, raw, span_s, counter) * counter.unit_J
                if raw == before and counter.still_s is not None:
                    self._still_s[i] += span_s
                    return 0.0
                self._known_s[i] += self._motionless_s(i)
                self._still_s[i] = 0.0
        except UnknownGrowthError as unknown:
            self._unknown_why[i] = str(unknown)
            return 0.0
        self._known_s[i] += span_s
        return energy_J

    def _motionless_s(self, i: int) -> float:
        """Seconds for which a counter has not moved, if it need not move; otherwise 0, and that time is unknown."""
        counter, still_s = self._sensors[i].counter, self._still_s[i]
        if counter is None or counter.still_s is None or still_s <= counter.still_s:
            return still_s
        self._unknown_why[i] = STOOD
        return 0.0

    def _covered_s(self, i: int) -> float:
        """Seconds for which the energy of a counter or gauge is known."""
        motionless_s, counter = self._motionless_s(i), self._sensors[i].counter
        if counter is not None and motionless_s and not self._known_s[i] and self._cpu_s >= counter.still_cpu_s:
            self._unknown_why[i] = STOOD
            return 0.0
        return self._known_s[i] + motionless_s

    def _repeated(self) -> dict[int, int]:
        """Return {sensor: the first one that shows its counter}."""

        def one_counter(i: int, j: int) -> bool:
            return (i, j) in self._agreements and self._agreements[i, j].one_counter

        return repeated(len(self._sensors), one_counter)

    @property
    def repeated(self) -> dict[tuple[str, str], str]:
        """Return {(component, device): the device that shows the same counter, with which it counts}."""
        return {
            (self._sensors[j].component, self._sensors[j].device): self._sensors[i].device
            for j, i in self._repeated().items()
        }

    def _notices(self, i: int, troubles: Mapping[str, str]) -> list[str]:
        """Remarks on a sensor: which others show its counter, and whether the kernel counted too little busy time."""
        sensor = self._sensors[i]
        others = [self._sensors[j].device for j, first in self._repeated().items() if first == i]
        notices = [notice(sensor.device, others)] if others else []
        if sensor.uses("busy") and said_too_little(self._kernels_busy_s, self._cpu_s):
            notices.append(f"{trouble}; {LEAST_BUSY}" if (trouble := troubles.get(BUSY)) else LEAST_BUSY)
        return notices

    def _unseen_J(self, i: int, tick_s: Mapping[str, float]) -> float:
        """The uncertainty (J, 95 %) from sensors that are renewed at intervals.

        A counter lags at both ends of the job (`renewal_J`). A gauge's changes happened anywhere between two windows,
        at worst all at the same end.
        """
        sensor, gauge = self._sensors[i], self._sensors[i].gauge
        if gauge is not None:
            # a mean lags by half its length, at both ends
            lag_J = (self._most_W[i] - self._least_W[i]) * gauge.mean_s / 2 if self._known_s[i] else 0.0
            return math.hypot(self._changed_W[i] * gauge.refresh_s * (1 - gauge.window_part) / 2, lag_J, lag_J)
        if (period_s := tick_s.get(sensor.device)) is None or not (known_s := self._covered_s(i)):
            return 0.0
        return renewal_J(period_s, sum(self._counted[i].values()) / known_s)

    def components(
        self,
        host: str,
        duration_s: float,
        inside: Iterable[Mapping[str, Any]],
        troubles: Mapping[str, str],
        tick_s: Mapping[str, float],
    ) -> list[Component]:
        """Return the job's components.

        `inside` are components of the meters inside this one (as JSON), whose energy is subtracted. `troubles` says, by
        device, why readings failed; `tick_s` is each device's refresh period.
        """
        nested: dict[tuple[str, str, str], float] = {}
        for component in inside:
            for term in component["terms"]:
                key = (component["component"], component["device"], term["parameter"])
                nested[key] = nested.get(key, 0.0) + float(term["coefficient"])
        components = []
        repeated = self._repeated()
        for i, sensor in enumerate(self._sensors):
            if i in repeated:
                continue
            energy, share, coverage = None, None, 0.0
            sampled = self._previous is not None and bool(self._own[i])
            if sensor.counts:
                known_s = self._covered_s(i)
                sampled = known_s > 0
            else:
                known_s = self._counted_time_s(i)
            if sensor.terms and sampled:
                terms = {
                    name: max(0.0, c - nested.get((sensor.component, sensor.device, name), 0.0))
                    for name, c in self._own[i].items()
                }
                energy = Estimate(terms, sensor.parameters)
                if unseen_J := self._unseen_J(i, tick_s):
                    energy += unseen(self._job_id, sensor.device, unseen_J)
                    self._unseen |= energy.parameters
                counted_J = Estimate(self._counted[i], sensor.parameters).value
                share = energy.value / counted_J if counted_J > 0 else None
                coverage = min(1.0, known_s / duration_s) if duration_s > 0 else 0.0
            reason = sensor.reason or troubles.get(sensor.device) or self._unknown_why.get(i)
            if energy is None and reason is None:
                reason = "ended before it could be sampled twice"
            reason = "; ".join([*([reason] if reason else []), *self._notices(i, troubles)]) or None
            components.append(
                Component(
                    sensor.component,
                    host,
                    sensor.device,
                    energy,
                    reason,
                    sensor.method,
                    sensor.quality,
                    share,
                    coverage,
                )
            )
        return components

    def _counted_time_s(self, i: int) -> float:
        """Seconds for which a model was applied."""
        return next(
            (self._counted[i].get(t.parameter, 0.0) / t.factor for t in self._sensors[i].terms if t.of == "time"), 0.0
        )

    def counted(self) -> dict[tuple[str, str], Estimate]:
        """Return what each sensor counted in all, by component and device."""
        return {
            (sensor.component, sensor.device): Estimate(energy, sensor.parameters)
            for i, (sensor, energy) in enumerate(zip(self._sensors, self._counted, strict=True))
            if energy and (self._covered_s(i) > 0 or not sensor.counts)
        }

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of the components."""
        return {name: p for sensor in self._sensors for name, p in sensor.parameters.items()} | self._unseen


def renewal_J(period_s: float, power_W: float) -> float:
    """Return the uncertainty (J, 95 %) of what a counter counted that is renewed once in a period.

    It lags by up to a period at both ends: the sum of two errors that are uniform within ±h is within ±1.55 h.
    """
    return 1.55 * period_s / 2 * power_W


def _part(own: float, in_use: float, reserved: float, whole: float) -> float:
    """Return the part of a resource that a job pays for: what it uses, and the idle rest of what it reserved.

    All in the resource's unit. `in_use` is at least `own`: the readings are not of one moment.
    """
    used = min(1.0, own / whole)
    busy = min(1.0, max(in_use / whole, used))
    return used + min(1.0 - busy, max(0.0, reserved / whole - used))
