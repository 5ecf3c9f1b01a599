"""The energy that a training has used so far, from the ledgers of the meters around it."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from greenllm.attribution import Estimate, attribute, attribute_attempts, read_attempts, total
from greenllm.files import write_json
from greenllm.ledger.file import ledger_paths, read_ledger
from greenllm.training.checkpoints import ATTEMPTS

# Clocks of a shared file system and of a host may differ by this much (s).
CLOCKS_S = 60.0


class UnknownEnergyError(Exception):
    """Why nobody knows what a job has used."""


class TrainingEnergy:
    """The energy that a training has used so far, in all attempts at it, as attribution finds it in their ledgers.

    What this job used is known up to the meter's last sample: it lags by up to `interval_s`.
    """

    def __init__(self, checkpoints: Path) -> None:
        """Note in the folder of the training's checkpoints that this job is an attempt at it.

        Raises UnknownEnergyError where there is no meter around this job, or the energy of an earlier attempt is lost.
        """
        self._id = os.environ.get("GREENLLM_METER_ID", "")
        if not self._id:
            raise UnknownEnergyError("no meter is around it; run it as `greenllm meter -- greenllm train …`")
        self._folder = Path(os.environ["GREENLLM_LEDGER"])
        ledger = next((path for path in self._folder.glob(f"*/{self._id}.jsonl")), None)
        start = read_ledger(ledger)[0].start if ledger else None
        if start is None:
            raise UnknownEnergyError(f"its meter writes no ledger to {self._folder}")
        self._began_s = float(start["wall_s"])
        self.interval_s = float(start["interval_s"])
        self._before = self._of_earlier(_join_attempts(checkpoints, self._id))

    def read(self) -> Estimate | None:
        """Return what has been used so far; None where the meter has not sampled twice yet.

        Only ledgers that were written to since this job began are read: no other job had a share of what it used.
        Raises UnknownEnergyError where no sensor tells, or not that of a GPU which the job holds.
        """
        recent = []
        for path in ledger_paths(self._folder):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime >= self._began_s - CLOCKS_S:
                    recent.append(path)
        job = attribute_attempts(read_attempts(self._folder, recent)[0]).job(self._id)
        if len(job.attempt.times) < 2:
            return None
        energy = job.energy_with_children
        unread = [part for part in job.components if part.energy is None and (part.component == "gpu" or not energy)]
        if energy is None or unread:
            raise UnknownEnergyError("; ".join(f"{part.component} {part.device}: {part.reason}" for part in unread))
        return total([self._before, energy])

    def _of_earlier(self, attempts: Sequence[str]) -> Estimate:
        if not attempts:
            return Estimate()
        jobs = {job.id: job for job in attribute(self._folder).jobs}
        if lost := [attempt for attempt in attempts if attempt not in jobs]:
            raise UnknownEnergyError(f"an earlier attempt at this training has no ledger in {self._folder}: {lost[0]}")
        known = [jobs[attempt].energy_with_children for attempt in attempts]
        return total([energy for energy in known if energy is not None])


def _join_attempts(checkpoints: Path, attempt: str) -> list[str]:
    """Add an attempt's id to those noted in the folder, and return the others."""
    note = checkpoints / ATTEMPTS
    noted: list[str] = json.loads(note.read_text()) if note.is_file() else []
    others = [other for other in noted if other != attempt]
    write_json(note, [*others, attempt])
    return others
