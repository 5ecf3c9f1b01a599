"""Reads ledgers from a folder into attempts."""

import hashlib
import time
from pathlib import Path

import numpy as np

from greenllm.attribution.attempt import Attempt
from greenllm.errors import UserError
from greenllm.meter.estimate import Parameter
from greenllm.meter.host import boot_id
from greenllm.meter.ledger import Ledger, ledger_paths, read_ledger

# What a start record must say, or the file cannot be attributed.
REQUIRED = ("id", "host", "boot_id", "cpus", "columns", "sensors", "parameters", "interval_s", "job")


def read_attempts(folder: Path) -> tuple[list[Attempt], list[str]]:
    """Read all ledgers under a folder; return the attempts and one line for each file that tells of none.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a ledger folder, as `greenllm meter --ledger` writes it")
    attempts, troubles = [], []
    here = boot_id()
    for path in ledger_paths(folder):
        try:
            ledger, content = read_ledger(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable or leave it out") from None
        if ledger.start is None:
            troubles.append(f"{path}: no start record: not counted")
            continue
        if missing := [name for name in REQUIRED if name not in ledger.start]:
            troubles.append(f"{path}: start record lacks {', '.join(missing)}: not counted")
            continue
        try:
            for record in ledger.start["parameters"].values():
                Parameter.from_json(record)
        except (AttributeError, KeyError, TypeError, ValueError):
            troubles.append(f"{path}: start record's parameters are damaged: not counted")
            continue
        attempt = _attempt(ledger, content, path.relative_to(folder), here)
        if ledger.corrupt_lines:
            lines = ", ".join(str(number) for number in ledger.corrupt_lines[:5] if number)
            troubles.append(
                f"{path}: {len(ledger.corrupt_lines)} damaged line(s) left out{f' (line {lines})' if lines else ''}"
            )
        attempts.append(attempt)
    return attempts, troubles


def _attempt(ledger: Ledger, content: bytes, path: Path, here: str) -> Attempt:
    assert ledger.start is not None
    names = ledger.columns
    try:
        table = np.array(ledger.samples, dtype=np.float64)
    except (ValueError, TypeError):
        ledger.drop_damaged_samples()
        table = np.array(ledger.samples, dtype=np.float64)
    table = table.reshape(-1, len(names))
    return Attempt(
        start=ledger.start,
        end=ledger.end,
        status=_status(ledger, here, table),
        columns={name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)},
        path=str(path),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        corrupt_lines=len(ledger.corrupt_lines),
    )


def _status(ledger: Ledger, here: str, table: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> str:
    """An attempt without an end runs while its lock is held; on other hosts, while its heartbeat is fresh."""
    assert ledger.start is not None
    if ledger.end is not None:
        return str(ledger.end.get("status", "lost"))
    if ledger.locked:
        return "running"
    if ledger.start["boot_id"] == here:  # on the same kernel the lock is authoritative
        return "lost"
    heartbeat_s = max(float(ledger.start.get("wall_s", 0.0)), float(table[-1, 1]) if len(table) else 0.0)
    fresh_s = max(30.0, 5 * float(ledger.start["interval_s"]))
    return "running" if 0 <= time.time() - heartbeat_s <= fresh_s else "lost"
