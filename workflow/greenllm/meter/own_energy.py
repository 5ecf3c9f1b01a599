"""The energy of this very process, with its threads and descendants, from sample to sample, while it runs."""

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from greenllm.cluster.assignment import assigned_gpus
from greenllm.estimate import Interval
from greenllm.ledger.energy_log import SUMMED, Component, summed
from greenllm.meter.cgroups import tree_of
from greenllm.meter.discovery import find_sensors
from greenllm.meter.gpus import visible
from greenllm.meter.host import host_name, processor_count
from greenllm.meter.pace import Pace
from greenllm.meter.provisional import Provisional, renewal_J
from greenllm.meter.sampler import Row, Sampler
from greenllm.meter.sensors import nvml


@dataclass(frozen=True)
class EnergyGrowth:
    """What was counted between two samples, times by CLOCK_MONOTONIC (s).

    `energy_J` is the process's (gpu, cpu and dram), None with a `reason` where a part of it cannot be read;
    `components_J` splits it, `host_J` is what the same sensors counted of the whole host. `reason` also says why.
    `quality` is "measured", or "modelled" where any part is.
    """

    begin_s: float
    end_s: float
    energy_J: Interval | None
    components_J: Mapping[str, float]
    host_J: Mapping[str, float]
    quality: str
    reason: str | None


Device = tuple[str, str]  # component and device

LATE = "could not be read at the interval's begin, so its energy since then is unknown"


@dataclass(frozen=True)
class _Counts:
    """What was counted since the start (J): of the process, of the host, and of both by device where it is known.

    `energy_J` is the sum of the process's devices, None where none of them is known.
    """

    energy_J: Interval | None
    own_J: Mapping[Device, float]
    host_J: Mapping[Device, float]


class OwnEnergy:
    """Samples the host's sensors for this process, as a job that reserved `threads` processors and uses `gpus` GPUs.

    The share is that of an energy log (greenllm.meter.provisional): what the process used, and the idle part of what
    it reserved. Nothing is leased and no ledger is written. Call `begin`, then `watch` repeatedly, then `close`.
    """

    def __init__(self, threads: int, gpus: int, interval_s: float | None = None) -> None:
        """`interval_s`: the time between samples (default: the meter's). Raises UserError where it is bad."""
        self._pace = Pace(interval_s)
        found, sensors = find_sensors()
        own = visible(found, assigned_gpus(os.environ))[:gpus]
        sensors += [nvml.instance(gpu.uuid) for gpu in own if gpu.index < 0]
        self._pace.suit(sensors)
        self._closing = contextlib.ExitStack()
        for sensor in sensors:
            if sensor.close is not None:
                self._closing.callback(sensor.close)
        leased = [gpu.uuid for gpu in own]
        self._sampler = Sampler(sensors, leased, tree_of((), with_own=True))
        self._provisional = Provisional(
            sensors,
            self._sampler.columns,
            leased,
            processor_count(),
            float(threads),
            "own",
            wants_gpus=gpus > 0,
            memory_B=self._sampler.host_memory_B,
        )
        self._host = host_name()
        self._counts: _Counts | None = None  # at the last sample

    def begin(self) -> None:
        """Take the first sample."""
        self._sampler.begin_edge(renewals=1)
        for row in self._sampler.watch_edge():
            self._provisional.add(row)
        self._began_s = self._last_s = self._sample()
        self._pace.begin()

    def watch(self) -> EnergyGrowth | None:
        """Poll the sensors that need it; return what was counted since the last sample, if the next one is due."""
        if self._pace.is_due():
            self._pace.advance()
            return self.sample()
        if self._sampler.poll_s is not None:
            for row in self._sampler.poll():
                self._provisional.add(row)
        return None

    @property
    def wait_s(self) -> float:
        """The seconds until the next call of `watch`."""
        return self._pace.wait_s(self._sampler.poll_s)

    def sample(self) -> EnergyGrowth:
        """Take a sample now; return what was counted since the last one."""
        then_s, self._last_s = self._last_s, self._sample()
        components = self._provisional.components(
            self._host, self._last_s - self._began_s, (), self._sampler.troubles, self._sampler.tick_s
        )
        before, self._counts = self._counts, self._counted(components)
        own_J = _grown(None if before is None else before.own_J, self._counts.own_J)
        host_J = _grown(None if before is None else before.host_J, self._counts.host_J)
        summed_up = [one for one in components if one.component in SUMMED]
        known = [one for one in summed_up if (one.component, one.device) in own_J]
        unknown = [one for one in summed_up if (one.component, one.device) not in own_J]
        components_J = _by_component(own_J)
        energy_J = None
        # As attribution: without its GPU's, a job's energy is unknown.
        if known and self._counts.energy_J is not None and all(one.component != "gpu" for one in unknown):
            lag_J = self._lag(components_J, self._last_s - then_s)
            energy_J = _with_bounds(sum(own_J.values()), self._counts.energy_J, lag_J)
        reasons = [f"{one.component} {one.device}: {one.reason if one.energy is None else LATE}" for one in unknown]
        return EnergyGrowth(
            then_s,
            self._last_s,
            energy_J,
            components_J,
            _by_component(host_J),
            "modelled" if any(one.quality != "measured" for one in known) else "measured",
            "; ".join(reasons) or None,
        )

    def _lag(self, components_J: Mapping[str, float], span_s: float) -> float:
        """Return the uncertainty of an interval's energy (J) from GPUs whose counters are renewed now and then."""
        period_s = max(self._sampler.tick_s.values(), default=0.0)
        return renewal_J(period_s, components_J.get("gpu", 0.0) / span_s) if span_s > 0 else 0.0

    def close(self) -> None:
        """Close the sensors."""
        self._closing.close()

    def _sample(self) -> float:
        rows: list[Row] = self._sampler.sample()
        for row in rows:
            self._provisional.add(row)
        return float(rows[-1][0] or 0.0)

    def _counted(self, components: list[Component]) -> _Counts:
        known = {
            (one.component, one.device): one.energy.value
            for one in components
            if one.component in SUMMED and one.energy is not None
        }
        counted, energy = self._provisional.counted(), summed(components)
        host_J = {device: counted[device].value for device in known}
        return _Counts(None if energy is None else energy.interval(), known, host_J)


def _grown(before_J: Mapping[Device, float] | None, now_J: Mapping[Device, float]) -> dict[Device, float]:
    """Return by how much each device's energy has grown, of those that were known before; all, if there is no before.

    A device that was not known before may have counted for longer than this interval.
    """
    if before_J is None:
        return dict(now_J)
    return {device: energy_J - before_J[device] for device, energy_J in now_J.items() if device in before_J}


def _by_component(devices_J: Mapping[Device, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for (component, _), energy_J in devices_J.items():
        found[component] = found.get(component, 0.0) + energy_J
    return found


def _with_bounds(grown_J: float, whole_J: Interval, lag_J: float) -> Interval:
    """Return a growth with bounds: as wide, relative to it, as those of the energy since the start, and by the lag."""
    relative = (whole_J.low / whole_J.value, whole_J.high / whole_J.value) if whole_J.value > 0 else (1.0, 1.0)
    below_J, above_J = (math.hypot(grown_J * (bound - 1), lag_J) for bound in relative)
    return Interval(grown_J, max(0.0, grown_J - below_J), grown_J + above_J)
