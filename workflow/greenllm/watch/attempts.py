"""The attempts of a ledger folder, read again and again while meters write: ended ones are read once."""

import contextlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.reading import read_attempts
from greenllm.attribution.records import DamagedRecordError, end_record, start_record
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.ledger.energy_log import SUMMED
from greenllm.ledger.file import first_and_last_line, ledger_paths
from greenllm.ledger.records import EndRecord, StartRecord, Status
from greenllm.ledger.run_file import PlannedJob
from greenllm.meter.host import boot_id

State = Status | Literal["running", "silent", "lost"]

# A meter that has written nothing for this time (s), and for this number of its intervals, is silent.
SILENT_S, SILENT_INTERVALS = 30.0, 5
# Clocks of a file server and of a host may differ by this much (s).
CLOCKS_S = 60.0


@dataclass(frozen=True)
class WatchedAttempt:
    """One attempt as its ledger says it now.

    `state`: `silent` if no sample was written for long (its host may have died), `lost` if its meter has died on this
    host. `energy` is the attempt's own, without meters inside it: provisional if it has ended, None if it is unknown or
    if the attempt has not ended. `seen_s` is the Unix time of its last record. `worked` says that it has ended and
    reported work, as a training does at each checkpoint.
    """

    start: StartRecord
    state: State
    seen_s: float
    energy: Interval | None
    duration_s: float
    worked: bool = False

    @property
    def id(self) -> str:
        """The attempt's id."""
        return self.start.id

    @property
    def job(self) -> PlannedJob:
        """The workflow's name for its job."""
        return PlannedJob.of(self.start.job.rule or "(no rule)", self.start.job.wildcards)


@dataclass
class LedgerFolder:
    """Reads the attempts of a folder; what has ended is read once."""

    folder: Path
    _ended: dict[Path, WatchedAttempt] = field(default_factory=dict)
    _samples: dict[Path, Attempt] = field(default_factory=dict)
    _open: dict[Path, Attempt] = field(default_factory=dict)

    def attempts(self) -> list[WatchedAttempt]:
        """Return all attempts. Those whose start record is not yet written, or is damaged, are left out."""
        if not self.folder.is_dir():
            return []
        unended = []
        for path in ledger_paths(self.folder):
            if path not in self._ended:
                if (attempt := _ended(path)) is not None:
                    self._ended[path] = attempt
                else:
                    unended.append(path)
        self._open = self._read(unended)
        here = boot_id()
        return [*self._ended.values(), *(_unended(attempt, here) for attempt in self._open.values())]

    def beside_unended(self) -> list[Attempt]:
        """Return the unended attempts with their samples, and all that ran at the same time as one of them."""
        if not self._open:
            return []
        began_s = min(attempt.start.wall_s or 0.0 for attempt in self._open.values())
        recent = [path for path, attempt in self._ended.items() if attempt.seen_s >= began_s - CLOCKS_S]
        self._samples |= self._read([path for path in recent if path not in self._samples])
        return [*self._open.values(), *(self._samples[path] for path in recent if path in self._samples)]

    def _read(self, paths: Iterable[Path]) -> dict[Path, Attempt]:
        """Return the attempts in ledgers; a file that is gone or cannot be read is left out."""
        found = {}
        for path in paths:
            with contextlib.suppress(UserError):
                for attempt in read_attempts(self.folder, [path])[0]:
                    found[path] = attempt
        return found


def _ended(path: Path) -> WatchedAttempt | None:
    """Return a ledger's attempt from its first and last lines; None if it has not ended, or cannot be read so."""
    try:
        first, last = first_and_last_line(path)
        if not last.startswith(b"{") or not first.startswith(b"{"):
            return None
        start, end = start_record(json.loads(first)), end_record(json.loads(last))
    except (OSError, ValueError, KeyError, TypeError, DamagedRecordError, RecursionError):
        return None
    duration_s = end.duration_s or 0.0
    seen_s = end.wall_s or (start.wall_s or 0.0) + duration_s
    return WatchedAttempt(start, end.status, seen_s, _energy(end), duration_s, any(end.work.values()))


def _unended(attempt: Attempt, here: str) -> WatchedAttempt:
    start = attempt.start
    if attempt.end is not None:  # it has ended since
        state: State = attempt.end.status
        energy = _energy(attempt.end)
        seen_s = attempt.end.wall_s or 0.0
    else:
        walls = attempt.columns["wall_s"]
        seen_s = max([start.wall_s or 0.0, *walls[np.isfinite(walls)][-1:].tolist()])
        energy, state = None, "running"
        if attempt.status == "lost" and start.boot_id == here:  # nobody holds its lock, which is certain on one kernel
            state = "lost"
        elif time.time() - seen_s > max(SILENT_S, SILENT_INTERVALS * start.interval_s):
            state = "silent"
    return WatchedAttempt(start, state, seen_s, energy, max(0.0, seen_s - (start.wall_s or seen_s)))


def _energy(end: EndRecord) -> Interval | None:
    """Return the sum of an end record's components (J); their errors are independent, and add in quadrature."""
    known: list[Mapping[str, float]] = [
        energy for part in end.components if part.get("component") in SUMMED and (energy := part.get("energy_J"))
    ]
    if not known:
        return None
    value = sum(one["value"] for one in known)
    below = math.hypot(*(one["value"] - one["low"] for one in known))
    above = math.hypot(*(one["high"] - one["value"] for one in known))
    return Interval(value, value - below, value + above)


def summed(energies: Sequence[Interval]) -> Interval:
    """Return the sum of energies (J) whose errors are common to all, as those of one host's sensors: bounds add up."""
    return Interval(*(float(sum(bounds)) for bounds in zip(*energies, strict=True))) if energies else Interval(0, 0, 0)
