"""The energy of a job while it runs, from the ledgers that its meter and other meters are still writing."""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from greenllm.attribution.from_ledgers import attribute, attribute_attempts
from greenllm.attribution.reading import read_attempts
from greenllm.attribution.result import Attribution
from greenllm.attribution.turns import energy_in_turn
from greenllm.estimate import Estimate, total
from greenllm.ledger.file import ledger_paths, read_ledger

# Clocks of a file server and of a host may differ by this much (s).
CLOCKS_S = 60.0
# The longest wait for a sample, and the time between two polls of the ledger (s).
PATIENCE_S, POLL_S = 10.0, 0.05


class Turn(NamedTuple):
    """A turn of a server: its attempt, the window (CLOCK_MONOTONIC, s), its threads, and the GPUs that it uses."""

    server_id: str
    start_s: float
    end_s: float
    threads: int
    gpus: int


class UnknownEnergyError(Exception):
    """The energy of a job is unknown; the message says why."""


class RunningJob:
    """A job with a meter around it. Its energy is known up to the meter's last sample, `interval_s` ago at most.

    Only ledgers written to since the job began are read: other jobs had ended before, and have no share of its energy.
    """

    def __init__(self, ledgers: Path, path: Path) -> None:
        """`path` is its ledger in the folder `ledgers`. Raises UnknownEnergyError where that has no start record."""
        start = read_ledger(path)[0].start
        if start is None:
            raise UnknownEnergyError(f"its meter writes no ledger to {ledgers}")
        self._ledgers, self._path = ledgers, path
        self.id = path.stem
        self.interval_s = float(start["interval_s"])
        self._began_s = float(start["wall_s"])
        self.meter_pid = int(start.get("pid") or 0)  # 0: an older ledger does not name it

    def energy(self) -> Estimate | None:
        """Return what the job and the meters inside it used so far (J); None before the second sample.

        Raises UnknownEnergyError where no sensor can be read, or not that of a GPU which the job holds.
        """
        job = self._attribution().job(self.id)
        if len(job.attempt.times) < 2:
            return None
        energy = job.energy_with_children
        unread = [part for part in job.components if part.energy is None and (part.component == "gpu" or not energy)]
        if energy is None or unread:
            raise UnknownEnergyError("; ".join(f"{part.component} {part.device}: {part.reason}" for part in unread))
        return energy

    def inside(self, meter_pid: int) -> str:
        """Return the id of the running meter inside this job with this process id.

        Raises UnknownEnergyError where it writes no ledger.
        """
        for path in self._path.parent.glob(f"{self.id}.*.jsonl"):
            written = read_ledger(path)[0]
            if written.start is not None and written.start.get("pid") == meter_pid and written.end is None:
                return path.stem
        raise UnknownEnergyError(f"the meter with process id {meter_pid} writes no ledger to {self._ledgers}")

    def turns(self, turns: Sequence[Turn]) -> list[Estimate | None]:
        """Return the energy (J) in each turn of a server inside this job; None where it is unknown.

        Waits, for PATIENCE_S at most, until the ledgers hold samples up to the end of the last turn.
        """
        if not turns:
            return []
        paths = [self._path.with_name(f"{one}.jsonl") for one in {self.id, *(turn.server_id for turn in turns)}]
        last_s, deadline_s = max(turn.end_s for turn in turns), time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            attempts, _ = read_attempts(self._ledgers, [path for path in paths if path.is_file()])
            if all(attempt.end is not None or attempt.last_s >= last_s for attempt in attempts):
                break
            time.sleep(POLL_S)
        attribution = self._attribution()
        known = {job.id for job in attribution.jobs}
        return [
            energy_in_turn(
                attribution,
                turn.server_id,
                self.id,
                (turn.start_s, turn.end_s),
                threads=turn.threads,
                gpus=turn.gpus,
            )
            if turn.server_id in known
            else None
            for turn in turns
        ]

    def energy_of(self, attempts: Iterable[str]) -> Estimate:
        """Return the energy (J) of earlier attempts, by id.

        Raises UnknownEnergyError where one has no ledger, or its energy is unknown.
        """
        wanted = list(attempts)
        jobs = {job.id: job for job in attribute(self._ledgers).jobs} if wanted else {}
        if lost := [attempt for attempt in wanted if attempt not in jobs]:
            raise UnknownEnergyError(f"an earlier attempt at this job has no ledger in {self._ledgers}: {lost[0]}")
        known = []
        for attempt in wanted:
            energy = jobs[attempt].energy_with_children
            if energy is None:
                raise UnknownEnergyError(f"that of an earlier attempt at this job is: {attempt}")
            known.append(energy)
        return total(known)

    def _attribution(self) -> Attribution:
        recent = []
        for path in ledger_paths(self._ledgers):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime >= self._began_s - CLOCKS_S:
                    recent.append(path)
        return attribute_attempts(read_attempts(self._ledgers, recent)[0])


def this_job() -> RunningJob:
    """Return the job that this process is part of. Raises UnknownEnergyError where no meter is around it."""
    meter_id = os.environ.get("GREENLLM_METER_ID", "")
    if not meter_id:
        raise UnknownEnergyError("no meter is around it; run it as `greenllm meter -- greenllm …`")
    ledgers = Path(os.environ["GREENLLM_LEDGER"])
    for path in ledgers.glob(f"*/{meter_id}.jsonl"):
        return RunningJob(ledgers, path)
    raise UnknownEnergyError(f"its meter writes no ledger to {ledgers}")
