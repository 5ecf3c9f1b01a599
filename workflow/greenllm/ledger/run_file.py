"""The file of one invocation of a workflow: which metered jobs it is to run, and whether it still runs.

`greenllm watch` reads it to know how many jobs wait: they have no ledger yet. JSON Lines, append-only, as a ledger.
docs/reference/ledger.md documents the format.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

SCHEMA = "greenllm/run/1"


class PlannedJob(NamedTuple):
    """A job by the workflow's name for it: rule, and wildcards in the order of their names."""

    rule: str
    wildcards: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, rule: str, wildcards: Mapping[str, object]) -> "PlannedJob":
        """Return the job of a rule and {wildcard: value}."""
        return cls(rule, tuple(sorted((name, str(value)) for name, value in wildcards.items())))


@dataclass(frozen=True)
class WorkflowRun:
    """One invocation of a workflow. `started_s` and `ended_s` are Unix times; `succeeded` is None until it has ended.

    `locked`: the process that began it still holds its lock, as far as this host can see.
    """

    run_id: str
    host: str
    boot_id: str
    started_s: float
    jobs: tuple[PlannedJob, ...]
    ended_s: float | None = None
    succeeded: bool | None = None
    locked: bool = False


class RunFile:
    """The open file of this invocation. Its lock shows readers that the workflow runs; the process's end drops it."""

    def __init__(self, folder: Path, run_id: str, host: str, boot_id: str, jobs: Iterable[PlannedJob]) -> None:
        """Write the start record to `<folder>/<run_id>.jsonl`. Raises OSError where it cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{quote(run_id, safe=' ')}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):  # some shared file systems have no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._write(
            {
                "record": "start",
                "schema": SCHEMA,
                "run_id": run_id,
                "host": host,
                "boot_id": boot_id,
                "pid": os.getpid(),
                "wall_s": time.time(),
                "jobs": [{"rule": job.rule, "wildcards": dict(job.wildcards)} for job in jobs],
            }
        )

    def end(self, *, succeeded: bool) -> None:
        """Write the end record. Never raises: without it the lock that is gone says that the workflow has ended."""
        with contextlib.suppress(OSError):
            self._write({"record": "end", "wall_s": time.time(), "succeeded": succeeded})

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]


def read_runs(folder: Path) -> Iterator[WorkflowRun]:
    """Yield the runs whose files are in a folder, in order of their starts; a file that is damaged is left out."""
    runs = [run for path in folder.glob("*.jsonl") if (run := _read(path)) is not None]
    yield from sorted(runs, key=lambda run: run.started_s)


def _read(path: Path) -> WorkflowRun | None:
    try:
        with path.open("rb") as file:
            locked = _is_locked(file.fileno())
            records = [record for line in file if (record := _record(line)) is not None]
        starts = [record for record in records if record["record"] == "start" and record["schema"] == SCHEMA]
        last = starts[-1]
        ends = [record for record in records[records.index(last) :] if record["record"] == "end"]
        return WorkflowRun(
            run_id=str(last["run_id"]),
            host=str(last["host"]),
            boot_id=str(last["boot_id"]),
            started_s=float(starts[0]["wall_s"]),
            jobs=tuple(PlannedJob.of(str(job["rule"]), job["wildcards"]) for start in starts for job in start["jobs"]),
            ended_s=float(ends[-1]["wall_s"]) if ends else None,
            succeeded=bool(ends[-1]["succeeded"]) if ends else None,
            locked=locked,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _record(line: bytes) -> dict[str, Any] | None:
    """Return a line's record; None for a torn one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "record" in record else None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
