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
from greenllm.attribution.records import end_fault, start_fault
from greenllm.attribution.sample_columns import parse_columns
from greenllm.errors import UserError
from greenllm.ledger.file import Ledger, ledger_paths, parse_ledger, read_content, read_ledger
from greenllm.meter.host import boot_id


def read_attempts(folder: Path, paths: Sequence[Path] | None = None) -> tuple[list[Attempt], list[str]]:
    """Read the ledgers under a folder, or some of them; return the attempts and one line for each damaged file.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    read = partial(_read_attempt, folder, boot_id())
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # parsing and hashing hold no lock
        found = list(threads.map(read, _paths(folder) if paths is None else paths))
    attempts, copies = _without_copies([attempt for attempt, _ in found if attempt], folder)
    return attempts, [*(trouble for _, trouble in found if trouble), *copies]


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


def check_folder(folder: Path) -> None:
    """Raise UserError where a folder is no ledger folder, or holds no ledgers."""
    if _paths(folder):
        return
    if any(folder.glob("*.jsonl")):
        raise UserError(f"{folder}: the ledgers of one host; name the folder around it: {folder.absolute().parent}")
    if below := next(folder.glob("*/*/*.jsonl"), None):
        raise UserError(f"{folder}: no ledgers in it, but in a folder below: name {below.parents[1]}")
    raise UserError(f"{folder}: no ledgers in it; expected <host>/<id>.jsonl, as `greenllm meter --ledger` writes them")


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
    if ledger.end is not None and end_fault(ledger.end):
        ledger.end = None
        ledger.corrupt_lines.append(0)
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
    return "no start record" if ledger.start is None else start_fault(ledger.start)


def _without_copies(attempts: Sequence[Attempt], folder: Path) -> tuple[list[Attempt], list[str]]:
    """Keep, of ledgers with one id and boot (a folder beside its backup), the longest; name the others."""
    longest: dict[tuple[str, str], Attempt] = {}
    for attempt in attempts:
        kept = longest.setdefault((attempt.boot_id, attempt.id), attempt)
        if attempt.bytes > kept.bytes:
            longest[attempt.boot_id, attempt.id] = attempt
    troubles = [
        f"{folder / attempt.path}: tells of the same attempt as {folder / kept.path}, which is no shorter: not counted"
        for attempt in attempts
        if (kept := longest[attempt.boot_id, attempt.id]) is not attempt
    ]
    return list(longest.values()), troubles


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
