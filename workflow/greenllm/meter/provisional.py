"""A job's energy as its own meter knows it when the job ends: provisional, for the energy log.

The formula is attribution's (greenllm.attribution.sharing), for a job that is alone on its host: of the others it
only knows that the host was busy. `greenllm attribute` over all ledgers has the last word.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from greenllm.meter.component import Component
from greenllm.meter.counting import UnknownGrowthError, growth
from greenllm.meter.estimate import Estimate, Parameter, unseen
from greenllm.meter.ledger import HOST_COLUMNS, counter_columns
from greenllm.meter.sensors import Sensor
from greenllm.meter.sensors.external import POWER_METHODS, SILENT, SILENT_S
from greenllm.meter.watching import UNREAD, UNREAD_S, USUAL_S, WINDOW_PART

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
    ) -> None:
        """`leased` are the UUIDs of the job's GPUs; `cpus` the host's processors; `job_id` names the job's own errors.

        `wants_gpus`: GPUs that cannot be read are the job's concern.
        """
        gpus = set(leased)
        self._sensors = [s for s in sensors if s.component != "gpu" or s.device in gpus or (wants_gpus and not s.terms)]
        self._column = {name: i for i, name in enumerate(columns)}
        self._cpus, self._reserved_cpus, self._job_id = cpus, reserved_cpus, job_id
        self._previous: Row | None = None
        self._last_read: dict[int, tuple[float, float]] = {}
        self._known_s = [0.0] * len(self._sensors)  # between readings, where it is known what was counted
        self._unknown_why: dict[int, str] = {}
        self._own: list[dict[str, float]] = [{} for _ in self._sensors]
        self._counted: list[dict[str, float]] = [{} for _ in self._sensors]
        self._unseen: dict[str, Parameter] = {}
        self._changed_W = [0.0] * len(self._sensors)
        self._least_W, self._most_W = [math.inf] * len(self._sensors), [0.0] * len(self._sensors)

    def add(self, row: Row) -> None:
        """Take in the next sample, or readings between samples."""
        if row[0] is None:
            self._add_gauges(row)
            return
        previous, self._previous = self._previous, row
        grown = {"time": 0.0, "busy": 0.0}
        fraction = 0.0
        if previous is not None:
            now, before = self._host(row), self._host(previous)
            span_s = now["monotonic_s"] - before["monotonic_s"]
            grown = {"time": span_s, "busy": now["busy_s"] - before["busy_s"]}
            if span_s > 0:
                own = min(1.0, (now["cpu_s"] - before["cpu_s"]) / span_s / self._cpus)
                used = min(1.0, max(grown["busy"] / span_s / self._cpus, own))
                fraction = own + min(1.0 - used, max(0.0, self._reserved_cpus / self._cpus - own))
        for i, sensor in enumerate(self._sensors):
            part = 1.0 if sensor.component == "gpu" else fraction
            self._add(i, {**grown, "counter": self._counter_growth(i, sensor, row)}, part)

    def _host(self, row: Row) -> dict[str, float]:
        return {name: float(row[self._column[name]] or 0.0) for name in HOST_COLUMNS}

    def _add_gauges(self, row: Row) -> None:
        """Take in what gauges showed between samples."""
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
        if sensor.counter is None and sensor.gauge is None:
            return 0.0
        when, raw = (row[self._column[name]] for name in counter_columns(sensor.component, sensor.device))
        if when is None or raw is None:
            return 0.0
        then, before = self._last_read.get(i, (when, raw))
        self._last_read[i] = when, raw
        span_s = when - then
        try:
            if sensor.gauge is not None:
                if span_s > UNREAD_S:
                    raise UnknownGrowthError(UNREAD)
                self._changed_W[i] += abs(raw - before) * sensor.gauge.unit_W
                self._least_W[i] = min(self._least_W[i], raw * sensor.gauge.unit_W)
                self._most_W[i] = max(self._most_W[i], raw * sensor.gauge.unit_W)
                energy_J = (raw + before) / 2 * sensor.gauge.unit_W * span_s
            else:
                if sensor.method in POWER_METHODS and span_s > SILENT_S:
                    raise UnknownGrowthError(SILENT)
                assert sensor.counter is not None
                energy_J = growth(before, raw, span_s, sensor.counter) * sensor.counter.unit_J
        except UnknownGrowthError as unknown:
            self._unknown_why[i] = SILENT if sensor.method in POWER_METHODS else str(unknown)
            return 0.0
        self._known_s[i] += span_s
        return energy_J

    def _unseen_J(self, i: int, tick_s: Mapping[str, float]) -> float:
        """What readings that are renewed only now and then leave open, in joules (95 %).

        A counter lags by up to a period at both ends of the job (the sum of two errors that are uniform within ±h is
        within ±1.55 h); of a gauge's changes, each lies anywhere between two windows, at worst all at the same end.
        """
        sensor = self._sensors[i]
        if sensor.gauge is not None:
            # a mean lags by half its length, at both ends
            lag_J = (self._most_W[i] - self._least_W[i]) * sensor.gauge.mean_s / 2 if self._known_s[i] else 0.0
            return math.hypot(self._changed_W[i] * USUAL_S * (1 - WINDOW_PART) / 2, lag_J, lag_J)
        if (period_s := tick_s.get(sensor.device)) is None or not (known_s := self._known_s[i]):
            return 0.0
        return 1.55 * period_s / 2 * sum(self._counted[i].values()) / known_s

    def components(
        self,
        host: str,
        duration_s: float,
        inside: Iterable[Mapping[str, Any]],
        troubles: Mapping[str, str],
        tick_s: Mapping[str, float],
    ) -> list[Component]:
        """Return the job's components.

        `inside` are components of the meters inside this one (as JSON), which are taken out of it; `troubles` says,
        by device, why readings failed, and `tick_s` how often it was renewed.
        """
        nested: dict[tuple[str, str, str], float] = {}
        for component in inside:
            for term in component["terms"]:
                key = (component["component"], component["device"], term["parameter"])
                nested[key] = nested.get(key, 0.0) + float(term["coefficient"])
        components = []
        for i, sensor in enumerate(self._sensors):
            energy, share, coverage = None, None, 0.0
            sampled = self._previous is not None and bool(self._own[i])
            if sensor.counter is not None or sensor.gauge is not None:
                known_s = self._known_s[i]
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
        """Seconds a model was applied for."""
        return next(
            (self._counted[i].get(t.parameter, 0.0) / t.factor for t in self._sensors[i].terms if t.of == "time"), 0.0
        )

    def counted(self) -> dict[tuple[str, str], Estimate]:
        """Return what each sensor counted in all, by component and device."""
        return {
            (sensor.component, sensor.device): Estimate(energy, sensor.parameters)
            for i, (sensor, energy) in enumerate(zip(self._sensors, self._counted, strict=True))
            if energy and (self._known_s[i] > 0 or (sensor.counter is None and sensor.gauge is None))
        }

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of the components."""
        return {name: p for sensor in self._sensors for name, p in sensor.parameters.items()} | self._unseen
