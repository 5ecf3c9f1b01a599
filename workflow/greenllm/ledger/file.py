"""The ledger: one append-only JSON Lines file per attempt. docs/reference/ledger.md documents the format."""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = "greenllm/ledger/1"

# Columns that every sample has; two more follow for each counter (`counter_columns`).
BUSY = "busy_s"
HOST_COLUMNS = ("monotonic_s", "wall_s", BUSY, "steal_s", "cpu_s")

# Memory in use, in bytes: by the job's process tree, and on the host. Ledgers of earlier versions lack these columns.
TREE_MEMORY, HOST_MEMORY = MEMORY_COLUMNS = ("tree.memory_B", "host.memory_B")

# The longest time between two fsyncs while the job runs: a power loss costs no more, and a shared file system does not
# get an fsync every second.
SYNC_INTERVAL_S = 30.0

# An end record is in the last bytes of its file, unless the job has thousands of outputs.
TAIL_B = 64 * 1024


def counter_columns(component: str, device: str) -> tuple[str, str]:
    """Return the names of a counter's two columns: the time of the reading (CLOCK_MONOTONIC, s), and the reading."""
    return f"{component}/{device}.monotonic_s", f"{component}/{device}.raw"


def memory_column(gpu: str) -> str:
    """Return the name of the column for the used memory of a GPU, in bytes."""
    return f"gpu/{gpu}.memory_B"


class LedgerWriter:
    """Appends records to one ledger file. Never raises: a job must not stop because its ledger cannot be written.

    `lost` counts the records that could not be written, `trouble` says why (the first reason).
    """

    def __init__(self, path: Path) -> None:
        """Create the file and its folders and take its lock, which shows readers that the attempt is running."""
        self.path = path
        self.lost = 0
        self.trouble: str | None = None
        self._torn = False
        self._synced_s: float | None = None
        self._descriptor = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            self.trouble = f"{path}: {error.strerror}"
            return
        with contextlib.suppress(OSError):  # some shared file systems have no locks: readers then check the last sample
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, record: dict[str, Any] | Sequence[float | None], sync: bool = False) -> None:
        """Append one record as a line; after an incomplete write it begins a new line."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if self._descriptor < 0:
            self.lost += 1
            return
        try:
            if self._torn:
                line = b"\n" + line
            while line:  # after a short write, writing the rest succeeds or raises the reason
                written = os.write(self._descriptor, line)
                self._torn = written < len(line)
                line = line[written:]
        except OSError as error:
            self.lost += 1
            self.trouble = self.trouble or f"{self.path}: {error.strerror}"
        if sync or (self._synced_s is not None and time.monotonic() - self._synced_s >= SYNC_INTERVAL_S):
            self._sync()

    def sync_once(self) -> None:
        """Flush to the disk for the first time: after the job has started, so that it does not wait for that."""
        if self._synced_s is None:
            self._sync()

    def _sync(self) -> None:
        self._synced_s = time.monotonic()
        if self._descriptor < 0:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self.trouble = self.trouble or f"{self.path}: {error.strerror}"

    def close(self) -> None:
        """Close the file, which drops its lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass
class Ledger:
    """The contents of a ledger file, as JSON. `samples` are rows of numbers under the columns that `start` names."""

    path: Path
    start: dict[str, Any] | None = None
    samples: list[list[float | None]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    corrupt_lines: list[int] = field(default_factory=list)
    locked: bool = False

    @property
    def columns(self) -> list[str]:
        """The samples' column names."""
        return list(self.start["columns"]) if self.start else []

    def drop_damaged_samples(self) -> None:
        """Drop samples that are not one number or null for each column; they count as corrupt lines, with number 0."""
        width = len(self.columns)
        kept = [row for row in self.samples if len(row) == width and all(map(_is_reading, row))]
        self.corrupt_lines.extend([0] * (len(self.samples) - len(kept)))
        self.samples = kept


def _is_reading(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= sys.float_info.max
    return value is None or type(value) is float


def parse_ledger(path: Path, content: bytes) -> Ledger:
    """Read a ledger's bytes. A line that is no record (torn by a kill, damaged) is skipped, and its number noted."""
    ledger = Ledger(path)
    numbered = [(n, line) for n, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    rows = [(n, line) for n, line in numbered if line.startswith(b"[") and line.rstrip().endswith(b"]")]
    try:  # one call for all samples is several times faster than one for each
        samples = json.loads(b"[" + b",".join(line for _, line in rows) + b"]")
        if len(samples) != len(rows):
            raise ValueError
        ledger.samples = samples
    except (ValueError, RecursionError):  # the latter where brackets are nested a thousand deep
        for number, line in rows:
            try:
                ledger.samples.append(json.loads(line))
            except (ValueError, RecursionError):
                ledger.corrupt_lines.append(number)
    taken = {number for number, _ in rows}
    for number, line in numbered:
        if number in taken:
            continue
        try:
            record = json.loads(line)
            kind = record["record"]
            if kind == "start" and isinstance(record["columns"], list):
                ledger.start = record
            elif kind == "end":
                ledger.end = record
            else:
                raise ValueError(kind)
        except (ValueError, KeyError, TypeError, RecursionError):
            ledger.corrupt_lines.append(number)
    if set(map(len, ledger.samples)) - {len(ledger.columns)}:
        ledger.drop_damaged_samples()
    return ledger


def read_content(path: Path) -> tuple[bytes, bool]:
    """Return a ledger file's bytes, and whether a meter holds its lock. Raises OSError where it is unreadable."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            locked = False
        except BlockingIOError:
            locked = True
        except OSError:
            locked = False
        return file.read(), locked


def read_ledger(path: Path) -> tuple[Ledger, bytes]:
    """Read a ledger file; return it with its bytes (for length and hash). Raises OSError where it is unreadable."""
    content, locked = read_content(path)
    ledger = parse_ledger(path, content)
    ledger.locked = locked
    return ledger, content


def first_and_last_line(path: Path) -> tuple[bytes, bytes]:
    """Return the first and the last line of a ledger file without reading the samples between.

    The last one is empty if there is no other than the first. Raises OSError where the file is unreadable.
    """
    length = TAIL_B
    with path.open("rb") as file:
        first = file.readline()
        size = file.seek(0, os.SEEK_END)
        while True:
            begin = file.seek(max(len(first), size - length))
            tail = file.read().rstrip(b"\n")
            if begin == len(first) or b"\n" in tail:
                return first, tail.rpartition(b"\n")[2]
            length *= 4  # the outputs of a job may be thousands


def ledger_paths(folder: Path) -> Iterator[Path]:
    """Yield the ledger files under a ledger folder (`<folder>/<host>/<id>.jsonl`), in order of their names."""
    yield from sorted(folder.glob("*/*.jsonl"))
