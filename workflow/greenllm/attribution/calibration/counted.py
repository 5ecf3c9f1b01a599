"""The energy that a host's sensors counted, without any calibration."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.devices import Device, devices_of
from greenllm.attribution.merging import Series
from greenllm.errors import UserError
from greenllm.ledger.calibration_file import gain_name, offset_name

Span = tuple[float, float]


def attempts_of_boot(attempts: Sequence[Attempt], host: str | None, span: Span) -> list[Attempt]:
    """Return the attempts of the one boot that `host` (its id or the host's name) and the span select.

    `span` are the external meter's first and last Unix time. Raises UserError where there is none, or several.
    """
    boots: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if len(attempt.times) > 1 and host in (None, attempt.boot_id, attempt.start.host):
            boots.setdefault(attempt.boot_id, []).append(attempt)
    if not boots:
        known = sorted({f"{a.start.host} (boot {a.boot_id})" for a in attempts})
        wanted = "no ledger with samples" if host is None else f"no ledger with samples of host {host!r}"
        raise UserError(f"{wanted}; there are ledgers of: {', '.join(known) or 'no host'}")
    then = {
        boot: own
        for boot, own in boots.items()
        if any(a.first_s + a.wall_offset_s < span[1] and a.last_s + a.wall_offset_s > span[0] for a in own)
    }
    if not then:
        raise UserError(
            "the external readings and the ledgers have no time in common; are the readings' times in UTC, or with "
            "their zone, and is it the right host?"
        )
    if len(then) > 1:
        names = ", ".join(f"{own[0].start.host} (boot {boot})" for boot, own in sorted(then.items()))
        raise UserError(f"ledgers of several hosts in the time of the readings: choose one with --host: {names}")
    return next(iter(then.values()))


def choose_devices(attempts: Sequence[Attempt], names: Sequence[str]) -> list[Device]:
    """Return the devices of these names. Raises UserError where one is unknown, or read by two methods."""
    devices = devices_of(attempts)
    chosen = []
    for name in dict.fromkeys(names):
        found = [device for device in devices if device.sensor.device == name]
        if not found:
            known = ", ".join(sorted({device.sensor.device for device in devices}))
            raise UserError(f"no readable device {name!r} in these ledgers; there are: {known or 'none'}")
        if len(found) > 1:
            methods = " and ".join(device.sensor.method for device in found)
            raise UserError(f"device {name!r} was read by {methods}: leave only ledgers of one method in the folder")
        chosen += found
    return chosen


def first_reader(device: Device) -> Attempt:
    """Return the attempt whose description of the sensor the device has."""
    return next(a for a in device.attempts if device.sensor in a.sensors)


def uncalibrated_parameters(device: Device) -> dict[str, float]:
    """Return the values of the sensor's parameters before the calibration that its ledger may name."""
    start, name = first_reader(device).start, device.sensor.device
    calibrated = start.parameters.get(gain_name(start.host, name))
    gain = 1.0 if calibrated is None else calibrated.value
    own = dict.fromkeys(term.parameter for term in device.sensor.terms)
    return {p: start.parameters[p].value / gain for p in own if p != offset_name(start.host, name)}


def uncalibrated_energy(device: Device) -> Series:
    """Return the device's energy (J) over CLOCK_MONOTONIC, by its sensor or model alone."""
    values = uncalibrated_parameters(device)
    edges = device.series.times if len(device.series.times) else np.unique(device.busy.times)
    grown = sum(
        (values[parameter] * growth for parameter, growth in device.growth(edges) if parameter in values),
        np.zeros(len(edges) - 1),
    )
    return Series(edges, np.concatenate([[0.0], np.cumsum(grown)]))


def spans_read(devices: Sequence[Device]) -> list[Span]:
    """Return the times (CLOCK_MONOTONIC, s) in which every device was read continuously, and its growth is known."""
    read = [_spans(device) for device in devices]
    unknown = [(gap.start_s, gap.end_s) for device in devices for gap in device.series.unknown]
    edges = sorted({t for span in itertools.chain(*read, unknown) for t in span})
    joined: list[Span] = []
    for start, end in itertools.pairwise(edges):
        if any(_within(start, end, span) for span in unknown):
            continue
        if all(any(_within(start, end, span) for span in spans) for spans in read):
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
    return joined


def _spans(device: Device) -> list[Span]:
    """The time from first to last reading of each attempt that read the device."""
    spans = []
    for attempt in device.attempts:
        if not any(s.identity == device.identity and s.terms for s in attempt.sensors):
            continue
        times = attempt.readings(device.sensor)[0] if device.sensor.counts else attempt.times
        if len(times) > 1:
            spans.append((float(times[0]), float(times[-1])))
    return spans


def _within(start: float, end: float, span: Span) -> bool:
    return span[0] <= start and end <= span[1]


def wall_clock(attempts: Sequence[Attempt]) -> float:
    """Return wall clock minus CLOCK_MONOTONIC of a boot, in seconds: the median of its attempts'."""
    return float(np.median([attempt.wall_offset_s for attempt in attempts]))


def by_wall_clock(series: Mapping[str, Series], offset_s: float) -> dict[str, Series]:
    """Return the series over Unix time."""
    return {name: Series(one.times + offset_s, one.values) for name, one in series.items()}
