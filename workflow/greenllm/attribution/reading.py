"""Reads ledgers from a folder into attempts."""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.samples import parse_columns
from greenllm.errors import UserError
from greenllm.meter.estimate import Parameter
from greenllm.meter.host import boot_id
from greenllm.meter.ledger import HOST_COLUMNS, Ledger, ledger_paths, parse_ledger, read_content, read_ledger

# What a start record must say, or the file cannot be attributed.
REQUIRED = ("id", "host", "boot_id", "cpus", "columns", "sensors", "parameters", "interval_s", "job")


def read_attempts(folder: Path, paths: Sequence[Path] | None = None) -> tuple[list[Attempt], list[str]]:
    """Read the ledgers under a folder, or some of them; return the attempts and one line for each damaged file.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    read = partial(_read_attempt, folder, boot_id())
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # parsing and hashing hold no lock
        found = list(threads.map(read, _paths(folder) if paths is None else paths))
    return [attempt for attempt, _ in found if attempt], [trouble for _, trouble in found if trouble]


def starts_by_boot(folder: Path) -> dict[str, dict[Path, dict[str, Any]]]:
    """Return {boot id: {ledger: start record}} in order of time; {} for a start record that does not count.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    starts: dict[Path, dict[str, Any]] = {}
    for path in _paths(folder):
        try:
            with path.open("rb") as file:
                ledger = parse_ledger(path, file.readline())
            if ledger.start is None:
                ledger = read_ledger(path)[0]
        except OSError as error:
            raise _unreadable(path, error) from None
        starts[path] = {} if ledger.start is None or _fault(ledger) else ledger.start
    boots: dict[str, dict[Path, dict[str, Any]]] = {}
    for path, start in sorted(starts.items(), key=lambda item: float(item[1].get("wall_s", 0.0))):
        boots.setdefault(str(start.get("boot_id")), {})[path] = start
    return {  # within a boot the wall clock may have been set back
        boot_id: dict(sorted(own.items(), key=lambda item: (item[1].get("monotonic_s", 0.0), item[1].get("id", ""))))
        for boot_id, own in boots.items()
    }


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a ledger folder, as `greenllm meter --ledger` writes it")
    return list(ledger_paths(folder))


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror}); make it readable or leave it out")


def _read_attempt(folder: Path, here: str, path: Path) -> tuple[Attempt | None, str | None]:
    """Read one ledger; return its attempt, and what is wrong with it."""
    try:
        content, locked = read_content(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    ledger, columns = parse_columns(path, content)
    ledger.locked = locked
    if fault := _fault(ledger):
        return None, f"{path}: {fault}: not counted"
    assert ledger.start is not None
    by_name = dict(zip(ledger.columns, columns, strict=True))
    attempt = Attempt(
        start=ledger.start,
        end=ledger.end,
        status=_status(ledger, here, by_name["wall_s"]),
        columns=by_name,
        path=str(path.relative_to(folder)),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        corrupt_lines=len(ledger.corrupt_lines),
    )
    if not ledger.corrupt_lines:
        return attempt, None
    lines = ", ".join(str(number) for number in ledger.corrupt_lines[:5] if number)
    damaged = f"{len(ledger.corrupt_lines)} damaged line(s) left out{f' (line {lines})' if lines else ''}"
    return attempt, f"{path}: {damaged}"


def _fault(ledger: Ledger) -> str | None:
    """Return why a ledger tells of no attempt, if so."""
    if ledger.start is None:
        return "no start record"
    if missing := [name for name in REQUIRED if name not in ledger.start]:
        return f"start record lacks {', '.join(missing)}"
    if missing := [name for name in HOST_COLUMNS if name not in ledger.columns]:
        return f"start record's columns lack {', '.join(missing)}"
    try:
        for record in ledger.start["parameters"].values():
            Parameter.from_json(record)
    except (AttributeError, KeyError, TypeError, ValueError):
        return "start record's parameters are damaged"
    return None


def _status(ledger: Ledger, here: str, wall_s: Array) -> str:
    """An attempt without an end runs while its lock is held; on other hosts, while its heartbeat is fresh."""
    assert ledger.start is not None
    if ledger.end is not None:
        return str(ledger.end.get("status", "lost"))
    if ledger.locked:
        return "running"
    if ledger.start["boot_id"] == here:  # on the same kernel the lock is authoritative
        return "lost"
    heartbeat_s = max(float(ledger.start.get("wall_s", 0.0)), float(wall_s[-1]) if len(wall_s) else 0.0)
    fresh_s = max(30.0, 5 * float(ledger.start["interval_s"]))
    return "running" if 0 <= time.time() - heartbeat_s <= fresh_s else "lost"
