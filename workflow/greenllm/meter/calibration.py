"""Applies a host's calibrations to its sensors: gain and offset against an external meter."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from greenllm.estimate import Parameter
from greenllm.ledger.calibration_file import calibration_file, gain_name, offset_name, read_calibrations
from greenllm.meter.host import host_name
from greenllm.meter.machine_identity import differ, machine
from greenllm.meter.sensors import Sensor, Term


def apply(sensors: Sequence[Sensor]) -> None:
    """Apply this host's calibrations to the sensors that they are for.

    A calibration is for one method of one device: a counter's does not apply to polled power. If it names a machine it
    is for that machine alone, since two may have one name. (A GPU's name is unique.) A calibration that cannot be read
    or used stops no meter: the sensors stay as they are, and their `reason` says why.
    """
    host = host_name()
    readable = [sensor for sensor in sensors if sensor.terms]
    try:
        path = calibration_file(host)
        calibrations = read_calibrations(path, host)
    except FileNotFoundError:
        return
    except (OSError, RuntimeError, ValueError) as error:
        for sensor in readable:
            _remark(sensor, f"not calibrated: {error}")
        return
    here = machine()
    for sensor in readable:
        own = [(calibration, device) for calibration in calibrations if (device := _device(calibration, sensor))]
        try:
            for calibration, device in reversed(own):
                if sensor.component == "gpu" or not differ(calibration.get("machine"), here):
                    _calibrate(sensor, host, calibration, device)
                    break
            else:
                if own:
                    _remark(sensor, f"not calibrated: {path}: made on another machine of this name; calibrate this one")
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            _remark(sensor, f"not calibrated: {path}: {error!r}; calibrate again")


def _device(calibration: Mapping[str, Any], sensor: Sensor) -> dict[str, Any] | None:
    """Return a calibration's record of a sensor; None where it is for others."""
    return next(
        (d for d in calibration["devices"] if (d["component"], d["device"], d["method"]) == sensor.identity),
        None,
    )


def _calibrate(sensor: Sensor, host: str, calibration: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Multiply the sensor's parameters by the gain, and add the offset's term.

    The offset belongs to the device if it was calibrated alone. With others, it is the base load of everything behind
    the external meter, and is not applied.
    """
    before = {name: float(value) for name, value in own["parameters"].items()}
    now = {term.parameter: sensor.parameters[term.parameter].value for term in sensor.terms}
    if before.keys() != now.keys() or any(not math.isclose(before[name], now[name]) for name in now):
        raise ValueError("it was made for other parameters than the sensor has now")
    readings = calibration["readings"]
    source = f"calibration of {calibration['made']} against {readings['file']} (sha256 {readings['sha256']})"
    gain = Parameter.from_json({**own["gain"], "unit": "J/J", "source": source})
    if not 0 < gain.value < math.inf or not -math.inf < gain.low <= gain.value <= gain.high < math.inf:
        raise ValueError(f"gain {gain.value} [{gain.low}, {gain.high}]")
    # All parameters share the gain, and so its error. But errors of parameters add in quadrature, as if independent. So
    # the gain's bounds are widened by the root of the parameters' number. The sum's interval is then right if all
    # parameters weigh the same, and never too narrow.
    parts = math.sqrt(len(now))
    low, high = gain.value - (gain.value - gain.low) * parts, gain.value + (gain.high - gain.value) * parts
    parameters = dict(sensor.parameters)
    for name in now:
        p = parameters[name]
        parameters[name] = Parameter(
            p.value * gain.value, p.value * low, p.value * high, p.unit, f"{source}; before: {p.source}"
        )
    parameters[gain_name(host, sensor.device)] = gain
    terms = list(sensor.terms)
    if len(calibration["devices"]) == 1:
        offset = offset_name(host, sensor.device)
        half_W = _offset_half_width_W(calibration, own)
        value_W = float(calibration["offset_W"]["value"])
        if not math.isfinite(value_W) or not math.isfinite(half_W):
            raise ValueError(f"offset {value_W} ± {half_W} W")
        parameters[offset] = Parameter(value_W, value_W - half_W, value_W + half_W, "W", source)
        terms.append(Term(offset, "time"))
    sensor.parameters, sensor.terms = parameters, terms


def _offset_half_width_W(calibration: Mapping[str, Any], own: Mapping[str, Any]) -> float:
    """Return the offset's 95 % half-width that, with the gain's, makes the sum's interval right.

    At a power P the sum's variance is Var(gain)·P² + 2·Cov·P + Var(offset). Gain and offset are anticorrelated
    (Cov < 0: the line turns about the calibration's mean power), but parameters are treated as independent, so without
    the middle part intervals would be several times too wide. Written about the mean power, the line would need no
    middle part, but a coefficient could be negative. None may be, since energies are shared out by term. The middle
    part is therefore added to the offset's variance. It is taken at the calibration's lowest power, where it is nearest
    zero. At higher powers the interval is wider than needed. Where Cov > 0 it is taken at the highest power.
    """
    (_, covariance), (_, variance) = calibration["covariance"]
    powers = own["power_W"]
    sum_variance = variance + 2 * covariance * (powers["low"] if covariance < 0 else powers["high"])
    return float(calibration["coverage_factor"]) * math.sqrt(max(0.0, sum_variance))


def _remark(sensor: Sensor, reason: str) -> None:
    sensor.reason = f"{sensor.reason}; {reason}" if sensor.reason else reason
