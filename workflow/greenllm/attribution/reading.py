"""Reads ledgers from a folder into attempts."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.samples import parse_columns
from greenllm.errors import UserError
from greenllm.meter.estimate import Parameter
from greenllm.meter.host import boot_id
from greenllm.meter.ledger import HOST_COLUMNS, Ledger, ledger_paths, read_content

# What a start record must say, or the file cannot be attributed.
REQUIRED = ("id", "host", "boot_id", "cpus", "columns", "sensors", "parameters", "interval_s", "job")


def read_attempts(folder: Path) -> tuple[list[Attempt], list[str]]:
    """Read all ledgers under a folder; return the attempts and one line for each file that tells of none.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a ledger folder, as `greenllm meter --ledger` writes it")
    read = partial(_read_attempt, folder, boot_id())
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # parsing and hashing hold no lock
        found = list(threads.map(read, ledger_paths(folder)))
    return [attempt for attempt, _ in found if attempt], [trouble for _, trouble in found if trouble]


def _read_attempt(folder: Path, here: str, path: Path) -> tuple[Attempt | None, str | None]:
    """Read one ledger; return its attempt, and what is wrong with it."""
    try:
        content, locked = read_content(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable or leave it out") from None
    ledger, columns = parse_columns(path, content)
    ledger.locked = locked
    if ledger.start is None:
        return None, f"{path}: no start record: not counted"
    if missing := [name for name in REQUIRED if name not in ledger.start]:
        return None, f"{path}: start record lacks {', '.join(missing)}: not counted"
    if missing := [name for name in HOST_COLUMNS if name not in ledger.columns]:
        return None, f"{path}: start record's columns lack {', '.join(missing)}: not counted"
    try:
        for record in ledger.start["parameters"].values():
            Parameter.from_json(record)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, f"{path}: start record's parameters are damaged: not counted"
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
