"""A host's calibrations: gain and offset of its sensors against an external meter, applied to every later meter.

`greenllm calibrate` writes the file, `apply` reads it whenever the sensors are found. The standard library only: the
meter starts with every job.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenllm.estimate import Parameter
from greenllm.meter.host import host_name
from greenllm.meter.machine_identity import differ, machine
from greenllm.meter.sensors import Sensor, Term

SCHEMA = "greenllm/calibration/1"


def calibration_file(host: str) -> Path:
    """Return where a host's calibrations are kept.

    `$GREENLLM_CALIBRATION`, else `<host>.json` in greenllm/calibration under `$XDG_CONFIG_HOME` (default ~/.config).
    Raises RuntimeError where there is no home.
    """
    if named := os.environ.get("GREENLLM_CALIBRATION"):
        return Path(named)
    configuration = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configuration) if configuration else Path.home() / ".config") / f"greenllm/calibration/{host}.json"


def gain_name(host: str, device: str) -> str:
    """Return the parameter that tells, in every log, which gain a device's own parameters were multiplied by."""
    return f"calibration.gain@{host}/{device}"


def offset_name(host: str, device: str) -> str:
    """Return the parameter of the power that a calibration adds to what a device counts."""
    return f"calibration.offset_W@{host}/{device}"


def apply(sensors: Sequence[Sensor]) -> None:
    """Apply this host's calibrations to the sensors they are for.

    A calibration holds for one method of one device: that of a counter says nothing of polled power; and, where it says
    so, on one machine, as two may have one name. (A GPU's name is its own.) What cannot be read or used stops nobody:
    the sensors stay as they are, and their `reason` says why.
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
            _say(sensor, f"not calibrated: {error}")
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
                    _say(sensor, f"not calibrated: {path}: made on another machine of this name; calibrate this one")
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            _say(sensor, f"not calibrated: {path}: {error!r}; calibrate again")


def read_calibrations(path: Path, host: str) -> list[dict[str, Any]]:
    """Read a host's calibrations.

    Raises OSError where the file cannot be read, ValueError (one line, naming it) where it does not hold them.
    """
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); remove it and calibrate again") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ValueError(f"{path}: expected schema {SCHEMA}; remove it and calibrate again")
    if record.get("host") != host:
        raise ValueError(f"{path}: calibrates host {record.get('host')}, this is {host}")
    calibrations = record.get("calibrations")
    if not isinstance(calibrations, list) or not all(map(_is_calibration, calibrations)):
        raise ValueError(f"{path}: expected calibrations with their devices; remove it and calibrate again")
    return calibrations


def _is_calibration(record: Any) -> bool:
    """Whether it has the shape by which calibrations are told apart: of which devices, on which machine."""
    if not isinstance(record, dict) or not isinstance(record.get("devices"), list):
        return False
    return (record.get("machine") is None or _is_machine(record["machine"])) and all(
        isinstance(device, dict) and device.keys() >= {"component", "device", "method"} for device in record["devices"]
    )


def _is_machine(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(cards := record.get("network_cards"), list):
        return False
    return isinstance(record.get("processor", 0), str | None) and all(isinstance(card, str) for card in cards)


def _device(calibration: Mapping[str, Any], sensor: Sensor) -> dict[str, Any] | None:
    """Return what a calibration says of a sensor; None where it was of others."""
    identity = [sensor.component, sensor.device, sensor.method]
    return next(
        (d for d in calibration["devices"] if [d["component"], d["device"], d["method"]] == identity),
        None,
    )


def _calibrate(sensor: Sensor, host: str, calibration: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Multiply the sensor's parameters by the gain, and add the offset's term.

    The offset belongs to the device where it was calibrated alone. With others, it is the base load of all that the
    external meter fed, and nobody's.
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
    # All parameters share the gain, and so its error, but count as independent, in quadrature. The root of their
    # number makes up for it: then the sum's interval is right where they weigh the same, and never too narrow.
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

    At a power P the sum's variance is Var(gain)·P² + 2·Cov·P + Var(offset). Gain and offset go against each other
    (Cov < 0: the line turns about the calibration's mean power), but parameters count as independent, so without the
    middle part intervals would be several times too wide. Each is left its own coefficient (energies are shared out
    by term, and a coefficient below zero, as about the mean power, could not be), so the middle part goes into the
    offset: as it is at the calibration's lowest power, where it is nearest zero; above, the interval is on the safe
    side. A rising sum (Cov > 0) is taken at the highest power.
    """
    (_, covariance), (_, variance) = calibration["covariance"]
    powers = own["power_W"]
    sum_variance = variance + 2 * covariance * (powers["low"] if covariance < 0 else powers["high"])
    return float(calibration["coverage_factor"]) * math.sqrt(max(0.0, sum_variance))


def _say(sensor: Sensor, reason: str) -> None:
    sensor.reason = f"{sensor.reason}; {reason}" if sensor.reason else reason
