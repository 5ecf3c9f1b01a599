"""Reads ledgers from a folder into attempts."""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.records import DamagedRecordError, end_record, start_record
from greenllm.attribution.sample_columns import parse_columns
from greenllm.errors import UserError
from greenllm.ledger.file import ledger_paths, parse_ledger, read_content, read_ledger
from greenllm.ledger.records import EndRecord, StartRecord
from greenllm.meter.host import boot_id


def read_attempts(folder: Path, paths: Sequence[Path] | None = None) -> tuple[list[Attempt], list[str]]:
    """Read the ledgers under a folder, or some of them; return the attempts and one line for each damaged file.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    read = partial(_read_attempt, folder, boot_id())
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # parsing and hashing hold no lock
        found = list(threads.map(read, _paths(folder) if paths is None else paths))
    attempts, copies = without_copies([attempt for attempt, _ in found if attempt], folder)
    return attempts, [*(trouble for _, trouble in found if trouble), *copies]


def starts_by_boot(folder: Path) -> dict[str | None, dict[Path, StartRecord | None]]:
    """Return {boot id: {ledger: start record}} in order of time; None for a ledger that cannot be used, and its boot.

    Raises UserError where the folder does not exist or a file cannot be read.
    """
    starts: dict[Path, StartRecord | None] = {}
    for path in _paths(folder):
        try:
            with path.open("rb") as file:
                ledger = parse_ledger(path, file.readline())
            if ledger.start is None:
                ledger = read_ledger(path)[0]
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            starts[path] = start_record(ledger.start)
        except DamagedRecordError:
            starts[path] = None

    def by_wall_clock(start: StartRecord | None) -> float:
        return (start.wall_s if start else None) or 0.0

    def by_boot_clock(start: StartRecord | None) -> tuple[float, str]:
        return ((start.monotonic_s or 0.0), start.id) if start else (0.0, "")

    boots: dict[str | None, dict[Path, StartRecord | None]] = {}
    for path, start in sorted(starts.items(), key=lambda item: by_wall_clock(item[1])):
        boots.setdefault(start.boot_id if start else None, {})[path] = start
    return {  # within a boot the wall clock may have been set back
        boot_id: dict(sorted(own.items(), key=lambda item: by_boot_clock(item[1]))) for boot_id, own in boots.items()
    }


def check_folder(folder: Path) -> None:
    """Raise UserError where a folder is no ledger folder, or holds no ledgers."""
    if any(folder.glob("ledger/*/*.jsonl")):  # beside it are the run files, which have a ledger's ending
        raise UserError(f"{folder}: no ledgers in it, but in a folder below: name {folder / 'ledger'}")
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
    return attempt_of(folder, path, content, locked, here)


def attempt_of(folder: Path, path: Path, content: bytes, locked: bool, here: str) -> tuple[Attempt | None, str | None]:
    """Return the attempt in a ledger's bytes, and one line about what is wrong with them.

    `path` is the ledger's, in the ledger folder `folder`; `locked`: a meter holds its lock; `here` is this host's boot.
    """
    ledger, columns = parse_columns(path, content)
    try:
        start = start_record(ledger.start)
    except DamagedRecordError as fault:
        return None, f"{path}: {fault}: not counted"
    end = None
    if ledger.end is not None:
        try:
            end = end_record(ledger.end)
        except DamagedRecordError:
            ledger.corrupt_lines.append(0)
    by_name = dict(zip(ledger.columns, columns, strict=True))
    attempt = Attempt(
        start=start,
        end=end,
        status=_status(start, end, locked, here, by_name["wall_s"]),
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


def without_copies(attempts: Sequence[Attempt], folder: Path) -> tuple[list[Attempt], list[str]]:
    """Keep, of ledgers with one id and boot (a folder beside its backup), the longest; name the others."""
    longest: dict[tuple[str, str], Attempt] = {}
    for attempt in attempts:
        kept = longest.setdefault((attempt.boot_id, attempt.id), attempt)
        if attempt.bytes > kept.bytes:
            longest[attempt.boot_id, attempt.id] = attempt
    troubles = [
        f"{folder / attempt.path}: the same attempt as in {folder / kept.path}, which is no shorter: not counted"
        for attempt in attempts
        if (kept := longest[attempt.boot_id, attempt.id]) is not attempt
    ]
    return list(longest.values()), troubles


def _status(start: StartRecord, end: EndRecord | None, locked: bool, here: str, wall_s: Array) -> str:
    """An attempt without an end runs while its lock is held; on other hosts, while its last sample is fresh."""
    if end is not None:
        return end.status
    if locked:
        return "running"
    if start.boot_id == here:  # on the same kernel the lock is authoritative
        return "lost"
    heartbeat_s = max(start.wall_s or 0.0, float(wall_s[-1]) if len(wall_s) else 0.0)
    fresh_s = max(30.0, 5 * start.interval_s)
    return "running" if abs(time.time() - heartbeat_s) <= fresh_s else "lost"  # its clock may be ahead
