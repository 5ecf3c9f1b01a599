"""No counter ran backwards: energies, CPU times, and what several meters read of one counter."""

import numpy as np
import numpy.typing as npt

from greenllm.attribution import Attempt
from greenllm.documents.verification import CheckOutcome
from greenllm.ledger.file import BUSY, counter_columns
from greenllm.ledger.records import Counter, SensorRecord
from greenllm.meter.counter_growth import JUMPED
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# /proc/stat counts in hundredths of a second, rounded for each processor.
TICK_s = 0.02


def check_counters(evidence: Evidence) -> CheckOutcome:
    """Find readings that fall, and growth that no two meters agree about."""
    check = Check("counters", "no counter ran backwards, and none is negative", "readings")
    for attempt in evidence.attempts:
        place = f"ledger/{attempt.path}"
        for column, least in ((BUSY, TICK_s), ("steal_s", TICK_s), ("cpu_s", 1e-6)):
            _check_column(check, f"{place}: {column}", attempt.columns[column], least)
        for sensor in attempt.sensors:
            if sensor.counter is not None:
                _check_counter(check, f"{place}: {sensor.component} {sensor.device}", attempt, sensor, sensor.counter)
        _check_end(check, place, attempt)
    for host in evidence.attribution_again.host_totals():
        for gap in host.gaps:
            if gap.reason == JUMPED:
                check.find(
                    f"{host.host}: {gap.device}", "was reset, or a reading was changed", "a counter that only grows",
                    f"{gap.started} to {gap.ended}",
                )  # fmt: skip
    return check.outcome()


def _check_column(check: Check, place: str, values: npt.NDArray[np.float64], least: float) -> None:
    """Find where a column falls by more than `least`, or is negative."""
    known = values[np.isfinite(values)]
    check.count(len(known))
    for at in np.flatnonzero(np.diff(known) < -least):
        check.find(place, "ran backwards", f"{known[at]:.6f} or more", f"{known[at + 1]:.6f}")
    if len(known) and known.min() < 0:
        check.find(place, "is negative", "0 or more", float(known.min()))


def _check_counter(check: Check, place: str, attempt: Attempt, sensor: SensorRecord, counter: Counter) -> None:
    """A counter falls where it wraps around, by nearly its range; any other fall is a reset, or was written later."""
    raw = attempt.columns[counter_columns(sensor.component, sensor.device)[1]]
    raw = raw[np.isfinite(raw)]
    check.count(len(raw))
    for at in np.flatnonzero(np.diff(raw) < 0):
        if counter.wrap is None or raw[at] - raw[at + 1] < counter.wrap / 2:
            check.find(place, "ran backwards", f"{raw[at]:.0f} or more", f"{raw[at + 1]:.0f}")


def _check_end(check: Check, place: str, attempt: Attempt) -> None:
    """The end record's CPU time is not below the last sample's."""
    _, used = attempt.series("cpu_s")
    if attempt.end is not None and attempt.end.cpu_s is not None and len(used):
        check.expect(
            attempt.end.cpu_s >= used[-1] - 1e-6, f"{place}: end record", "has less CPU time than the last sample",
            float(used[-1]), attempt.end.cpu_s,
        )  # fmt: skip
