"""`greenllm calibrate`: gain and offset of a host's devices, against the readings of an external meter."""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenllm.attribution.calibration.counted import (
    attempts_of_boot,
    by_wall_clock,
    choose_devices,
    first_reader,
    spans_read,
    uncalibrated_energy,
    uncalibrated_parameters,
    wall_clock,
)
from greenllm.attribution.calibration.fit import LAGS_S, PERIODS_PER_WINDOW, CannotCalibrateError, fit
from greenllm.attribution.calibration.readings import COLUMNS, quantity_of, read_readings, unix_s
from greenllm.attribution.devices import Device
from greenllm.attribution.reading import read_attempts
from greenllm.errors import UserError
from greenllm.files import sha256_of
from greenllm.ledger.calibration_file import calibration_file, read_calibrations, write_calibrations
from greenllm.meter.host import boot_id
from greenllm.meter.machine_identity import differ, machine
from greenllm.printing import print_json
from greenllm.timestamps import rfc3339


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("ledger_dir", type=Path, metavar="LEDGER_DIR", help="folder of ledgers, as in results/ledger")
    parser.add_argument(
        "readings",
        type=Path,
        metavar="READINGS.csv",
        help="the external meter's readings: a header, a column time (RFC 3339, or Unix seconds) and one of power_W, "
        "or cumulative energy_Wh, energy_J, energy_kWh; other units likewise (power_kW, energy_mJ), or in the cells",
    )
    parser.add_argument(
        "--device",
        action="append",
        required=True,
        metavar="NAME",
        help="a device that the meter feeds, as `greenllm attribute` names it; again for each further one",
    )
    parser.add_argument("--host", metavar="BOOT_OR_NAME", help="whose ledgers, where the folder has several hosts'")
    parser.add_argument(
        "--between", nargs=2, type=_moment, metavar="TIME", help="use only the readings between two times (RFC 3339)"
    )
    parser.add_argument(
        "--columns", type=_mapping, default={}, metavar="time=…,power_W=…", help="the names of the file's columns"
    )
    parser.add_argument(
        "--accuracy",
        type=_non_negative,
        default=0.0,
        metavar="PERCENT",
        help="the external meter's own, in percent of its reading (95 %%, from its data sheet); default 0: the bounds "
        "then are relative to the external meter",
    )
    parser.add_argument(
        "--averaging",
        type=_non_negative,
        metavar="S",
        help="the devices report a mean over their last S seconds (default: what their ledgers say; 1 for the power of "
        "NVIDIA cards from Ampere on, where no instant one can be read)",
    )
    parser.add_argument(
        "--lag",
        type=_non_negative,
        default=LAGS_S[1],
        metavar="S",
        help="the most seconds by which ledgers and readings may differ, by their clocks and the sensor's delay "
        "(default %(default)g); this time at either end of a ledger is not used",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to store it (default: where meters read it)")
    parser.add_argument("--json", action="store_true", help="print what was stored, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Fit, store and print a calibration."""
    attempts, _ = read_attempts(arguments.ledger_dir)
    between = None if arguments.between is None else (arguments.between[0], arguments.between[1])
    external = read_readings(arguments.readings, arguments.columns, between)
    attempts = attempts_of_boot(attempts, arguments.host, (float(external.times[0]), float(external.times[-1])))
    devices = choose_devices(attempts, arguments.device)
    offset_s = wall_clock(attempts)
    try:
        found = fit(
            external,
            by_wall_clock({device.sensor.device: uncalibrated_energy(device) for device in devices}, offset_s),
            [(start + offset_s, end + offset_s) for start, end in spans_read(devices)],
            window_s=PERIODS_PER_WINDOW * max(attempt.start.interval_s for attempt in attempts),
            lags_s=(-arguments.lag, arguments.lag),
            averaging_s=_averaging_s(devices) if arguments.averaging is None else arguments.averaging,
            accuracy=arguments.accuracy / 100,
        )
    except CannotCalibrateError as error:
        raise UserError(f"{arguments.readings}: {error}") from None

    start = first_reader(devices[0]).start
    host = start.host
    calibration = {
        "made": rfc3339(time.time()),
        # Ledgers identify their machine by the boot alone: that of another boot is unknown.
        "machine": machine() if start.boot_id == boot_id() else None,
        "readings": {
            "file": arguments.readings.name,
            "sha256": sha256_of(arguments.readings),
            "started": rfc3339(float(external.times[0])),
            "ended": rfc3339(float(external.times[-1])),
            "accuracy": arguments.accuracy / 100,
        },
        "ledgers": [attempt.id for attempt in attempts],
        "windows": found.windows,
        "window_s": found.window_s,
        "averaging_s": found.averaging_s,
        "lag_s": None if found.lag_s is None else found.lag_s.to_json(),
        "residual_W": found.residual_W,
        "offset_W": found.offset_W.to_json(),
        "covariance": found.covariance.tolist(),
        "coverage_factor": found.coverage_factor,
        "devices": [
            {
                **device.identity._asdict(),
                "parameters": uncalibrated_parameters(device),
                "gain": found.gains[device.sensor.device].to_json(),
                "power_W": dict(zip(("low", "mean", "high"), found.powers_W[device.sensor.device], strict=True)),
            }
            for device in devices
        ],
    }
    path = arguments.out or _default_file(host)
    store(path, host, calibration)
    if arguments.json:
        print_json(calibration)
    else:
        print(_as_text(calibration, path))
    return 0


def store(path: Path, host: str, calibration: Mapping[str, Any]) -> None:
    """Add a calibration to a host's file; it replaces the file's calibrations of the same devices.

    Those of another machine of this name are kept. Raises UserError if the file has another form or is another host's,
    and leaves it as it is.
    """
    try:
        stored = read_calibrations(path, host)
    except FileNotFoundError:
        stored = []
    except (OSError, ValueError) as error:
        raise UserError(f"{error}; or store elsewhere with --out") from None
    renewed = [_identity(device) for device in calibration["devices"]]
    kept = [
        earlier
        for earlier in stored
        if differ(earlier.get("machine"), calibration["machine"])
        or not any(_identity(device) in renewed for device in earlier["devices"])
    ]
    write_calibrations(path, host, [*kept, calibration])


def _identity(device: Mapping[str, Any]) -> tuple[str, str, str]:
    return device["component"], device["device"], device["method"]


def _default_file(host: str) -> Path:
    try:
        return calibration_file(host)
    except RuntimeError:
        raise UserError("no home folder to store the calibration in: name a file with --out") from None


def _as_text(calibration: Mapping[str, Any], path: Path) -> str:
    lines = [
        f"{device['component']} {device['device']} ({device['method']}): gain {_bounds(device['gain'], '')}"
        for device in calibration["devices"]
    ]
    alone = len(calibration["devices"]) == 1
    offset = _bounds(calibration["offset_W"], " W")
    lines.append(f"offset {offset}" if alone else f"base load {offset}, of no one device: stored, applied to none")
    lag = calibration["lag_s"]
    lines += [
        f"from {calibration['windows']} windows of {calibration['window_s']:.3g} s; what is left is "
        f"{calibration['residual_W']:.3g} W (root mean square)",
        "lag unknown: the load has no edge that would show it"
        if lag is None
        else f"ledgers {_bounds(lag, ' s')} behind the readings (sensor and clocks together)",
        f"stored in {path}",
    ]
    return "\n".join(lines)


def _bounds(interval: Mapping[str, float], unit: str) -> str:
    return f"{interval['value']:.4g}{unit} (95 %: {interval['low']:.4g} to {interval['high']:.4g})"


def _mapping(text: str) -> dict[str, str]:
    given = [pair.partition("=")[::2] for pair in text.split(",")]
    pairs = dict(given)
    for meaning in pairs:
        if [other for other, _ in given].count(meaning) > 1:
            raise argparse.ArgumentTypeError(f"{meaning!r} is there twice in {text!r}: name one column for it")
    if unknown := [
        meaning for meaning, name in pairs.items() if not name or not (meaning == "time" or quantity_of(meaning))
    ]:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} in {text!r}: expected {', '.join(f'{meaning}=NAME' for meaning in COLUMNS)}"
        )
    return pairs


def _moment(text: str) -> float:
    try:
        return unix_s(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected RFC 3339, as 2026-01-31T12:00:00Z") from None


def _averaging_s(devices: Sequence[Device]) -> float:
    """Return the time of which the devices' powers are the mean, in seconds."""
    return max(device.sensor.gauge.mean_s if device.sensor.gauge else 0.0 for device in devices)


def _non_negative(text: str) -> float:
    try:
        value = float(text)
        if 0 <= value < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r}: expected a number of 0 or more")
