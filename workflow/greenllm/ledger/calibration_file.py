"""The file of a host's calibrations: gain and offset of its sensors against an external meter.

`greenllm calibrate` writes it, and every later meter reads it. The standard library only, since the meter starts with
every job. docs/reference/ledger.md documents the format.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenllm.files import write_json

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
    """Return the name of the parameter that records the gain by which a device's own parameters were multiplied."""
    return f"calibration.gain@{host}/{device}"


def offset_name(host: str, device: str) -> str:
    """Return the name of the parameter of the power that a calibration adds to what a device counts."""
    return f"calibration.offset_W@{host}/{device}"


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
    """Whether a record says which devices it calibrates, and on which machine."""
    if not isinstance(record, dict) or not isinstance(record.get("devices"), list):
        return False
    return (record.get("machine") is None or _is_machine(record["machine"])) and all(
        isinstance(device, dict) and device.keys() >= {"component", "device", "method"} for device in record["devices"]
    )


def _is_machine(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(cards := record.get("network_cards"), list):
        return False
    return isinstance(record.get("processor", 0), str | None) and all(isinstance(card, str) for card in cards)


def write_calibrations(path: Path, host: str, calibrations: Sequence[Mapping[str, Any]]) -> None:
    """Write a host's calibrations. Raises OSError where the file cannot be written."""
    write_json(path, {"schema": SCHEMA, "host": host, "calibrations": list(calibrations)})
