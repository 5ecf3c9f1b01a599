"""No device drew more than it can, and no processor was busy for longer than there was time."""

import numpy as np

from greenllm.attribution import Attempt
from greenllm.attribution.merging import HIGHEST_W
from greenllm.documents.verification import CheckOutcome
from greenllm.ledger.file import BUSY
from greenllm.ledger.records import SensorRecord
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# A card keeps the mean of its power below its limit, and exceeds it for milliseconds. Over 3 s, a sensor's tolerance of
# 5 % (arXiv 2312.02741) and a counter that is renewed every 0.1 s make less than 10 %.
OVER_LIMIT, SPAN_s = 1.1, 3.0
# Busy times are counted in hundredths of a second for each processor.
TICK_s = 0.02


def check_power(evidence: Evidence) -> CheckOutcome:
    """Compare the power between readings with the limit in the ledger, CPU time with the time there was."""
    check = Check("power", "no power is above a device's limit, no CPU time above the time there was", "intervals")
    unlimited: set[str] = set()
    for attempt in evidence.attempts:
        place = f"ledger/{attempt.path}"
        for sensor in attempt.sensors:
            if sensor.counts:
                _check_sensor(check, f"{place}: {sensor.component} {sensor.device}", attempt, sensor, unlimited)
        for column, name in ((BUSY, "the host"), ("cpu_s", "the job")):
            _check_busy(check, f"{place}: {column}", attempt, column, name)
    if unlimited:
        check.skip(
            f"the limits of {', '.join(sorted(unlimited))}: their ledgers record none, so {HIGHEST_W:.0f} W was taken, "
            "more than any device of today draws"
        )
    return check.outcome()


def _check_sensor(check: Check, place: str, attempt: Attempt, sensor: SensorRecord, unlimited: set[str]) -> None:
    limit_W = sensor.limit_W or (sensor.counter.max_W if sensor.counter else None)
    if limit_W is None:
        unlimited.add(sensor.device)
    most_W = OVER_LIMIT * (limit_W or HIGHEST_W)
    times, raw = attempt.readings(sensor)
    later = np.searchsorted(times, times + SPAN_s)
    first = np.flatnonzero(later < len(times))  # each with the first reading that is `SPAN_s` later or more
    last = later[first]
    if sensor.gauge is not None:
        sums = np.concatenate([[0.0], np.cumsum(raw)])
        powers = (sums[last + 1] - sums[first]) / (last + 1 - first) * sensor.gauge.unit_W
    else:
        unit_J = sensor.counter.unit_J if sensor.counter else 0.0
        powers = (raw[last] - raw[first]) * unit_J / (times[last] - times[first])
    check.count(len(powers))
    over = first[powers > most_W]
    for at in over[np.diff(times[over], prepend=-np.inf) > SPAN_s]:  # one finding for spans that overlap
        check.find(
            f"{place}: {times[at]:.3f} s (CLOCK_MONOTONIC)", "more power than the device can draw",
            f"at most {limit_W or HIGHEST_W:.0f} W", f"{powers[first == at][0]:.0f} W",
        )  # fmt: skip


def _check_busy(check: Check, place: str, attempt: Attempt, column: str, name: str) -> None:
    """CPU seconds between two samples are at most the seconds between them, for each processor."""
    times, used = attempt.series_as_read(column)
    if len(times) < 2:
        return
    cpus = attempt.start.cpus
    most_s = cpus * (np.diff(times) + TICK_s)
    check.count(len(most_s))
    # A sample is not taken at one instant: what is too much in one interval is too little in its neighbours.
    over_s = np.diff(used) - most_s
    late = np.convolve(over_s, np.ones(3), mode="same") if len(over_s) >= 3 else over_s
    for at in np.flatnonzero((late > 0) & (over_s > 0)):
        check.find(
            f"{place}: from {times[at]:.3f} s (CLOCK_MONOTONIC)", f"{name} used more CPU time than {cpus} CPUs have",
            f"at most {most_s[at]:.2f} s", f"{np.diff(used)[at]:.2f} s",
        )  # fmt: skip
