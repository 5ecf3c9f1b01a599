"""One look at a results folder: the runs that go on, the jobs of each by state, power by host, and what is left."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from greenllm.attribution.from_ledgers import attribute_attempts
from greenllm.attribution.hosts import HostEnergy
from greenllm.attribution.result import Attribution
from greenllm.errors import UserError
from greenllm.estimate import Interval, PartialInterval
from greenllm.ledger.run_file import PlannedJob, WorkflowRun, read_runs
from greenllm.meter.host import boot_id, host_name
from greenllm.study import layout
from greenllm.timestamps import rfc3339
from greenllm.watch.attempts import LedgerFolder, WatchedAttempt, summed
from greenllm.watch.expectation import Earlier, EarlierJob, Remaining
from greenllm.watch.power import host_power, job_power_W

SCHEMA = "greenllm/watch/1"

JobState = Literal["running", "silent", "waiting", "failed", "done"]
JOB_STATES: tuple[JobState, ...] = ("running", "silent", "waiting", "failed", "done")
LEFT: tuple[JobState, ...] = ("running", "silent", "waiting")  # what these jobs will take is still to come


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt that has not ended: its energy so far and its power now; None where they are unknown."""

    attempt: WatchedAttempt
    energy: Interval | None
    power_W: float | None

    def to_json(self, now_s: float) -> dict[str, Any]:
        """Return the attempt for other programs."""
        start = self.attempt.start
        return {
            "id": start.id,
            "rule": start.job.rule,
            "wildcards": dict(start.job.wildcards),
            "attempt": start.job.attempt,
            "host": start.host,
            "started": start.started,
            "state": self.attempt.state,
            "silent_s": round(max(0.0, now_s - self.attempt.seen_s), 1),
            "energy_J": None if self.energy is None else self.energy.to_json(),
            "power_W": self.power_W,
        }


@dataclass(frozen=True)
class WatchedRun:
    """One invocation of a workflow: its jobs by state, its joules so far, and what is left.

    `goes_on`: whether it still runs. `waiting` is None in `jobs` if no run file says which jobs it has. `unknown`:
    attempts whose energy is unknown, such as those whose meter died; the energy is without them.
    """

    run_id: str
    started_s: float
    ended_s: float | None
    goes_on: bool
    jobs: Mapping[JobState, int | None]
    energy: Interval | None
    unknown: int
    open: Sequence[OpenAttempt]
    energy_left: Remaining | None
    time_left: Remaining | None

    @property
    def total(self) -> int | None:
        """The number of its jobs; None if it is unknown how many wait."""
        known = [number for number in self.jobs.values() if number is not None]
        return sum(known) if len(known) == len(self.jobs) else None

    def to_json(self, now_s: float) -> dict[str, Any]:
        """Return the run for other programs."""
        energy_J = dict.fromkeys(Interval._fields) if self.energy is None else self.energy.to_json()
        return {
            "run_id": self.run_id,
            "started": rfc3339(self.started_s),
            "ended": None if self.ended_s is None else rfc3339(self.ended_s),
            "goes_on": self.goes_on,
            "jobs": {**self.jobs, "total": self.total},
            "energy_J": {**energy_J, "unknown_attempts": self.unknown},
            "left": {
                "energy_J": None if self.energy_left is None else self.energy_left.to_json(),
                "time_s": None if self.time_left is None else self.time_left.to_json(),
            },
            "attempts": [one.to_json(now_s) for one in self.open],
        }


@dataclass(frozen=True)
class WatchedHost:
    """The power of one host on which a job runs: gpu, cpu and dram, all that the meters count there, idle included."""

    host: str
    boot_id: str
    jobs: int
    power_W: Interval | None
    qualities: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return the host for other programs."""
        return {
            "host": self.host,
            "boot_id": self.boot_id,
            "jobs": self.jobs,
            "power_W": None if self.power_W is None else self.power_W.to_json(),
            "qualities": list(self.qualities),
        }


@dataclass(frozen=True)
class Frame:
    """What a results folder shows at one time (Unix time, s). Where nothing runs, `runs` is the last run alone."""

    results: Path
    now_s: float
    runs: Sequence[WatchedRun]
    hosts: Sequence[WatchedHost]

    @property
    def runs_now(self) -> bool:
        """Whether something runs."""
        return any(run.goes_on for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        """Return the frame for other programs."""
        return {
            "schema": SCHEMA,
            "results": str(self.results),
            "at": rfc3339(self.now_s),
            "running": self.runs_now,
            "runs": [run.to_json(self.now_s) for run in self.runs],
            "hosts": [host.to_json() for host in self.hosts],
        }


class ResultsWatch:
    """Looks at a results folder again and again."""

    def __init__(self, results: Path) -> None:
        """Raises UserError if the folder does not exist, or if it has neither ledgers nor runs."""
        self.results = results
        ledgers, self._runs = layout.located(layout.LEDGER, results), layout.located(layout.RUNS, results)
        if not results.is_dir():
            raise UserError(f"{results}: no such results folder; expected the one the workflow writes")
        if not ledgers.is_dir() and not self._runs.is_dir():
            raise UserError(f"{results}: neither ledger/ nor runs/ in it; expected a results folder")
        self._ledgers = LedgerFolder(ledgers)

    def frame(self) -> Frame:
        """Read what has been written so far."""
        runs = {run.run_id: run for run in read_runs(self._runs)}
        by_run: dict[str, list[WatchedAttempt]] = {run_id: [] for run_id in runs}
        attempts = self._ledgers.attempts()
        for one in attempts:
            by_run.setdefault(one.start.run_id or one.id, []).append(one)
        energies = attribute_attempts(self._ledgers.beside_unended())
        earlier = Earlier.of(_spent(attempts))
        in_order = sorted(by_run, key=lambda run_id: _started_s(runs.get(run_id), by_run[run_id]))
        going_on = [run_id for run_id in in_order if _goes_on(runs.get(run_id), by_run[run_id])]
        shown = [
            _run(run_id, runs.get(run_id), by_run[run_id], energies, earlier) for run_id in going_on or in_order[-1:]
        ]
        hosts = [_host(host, attempts, energies) for host in energies.hosts]
        return Frame(self.results, time.time(), shown, [host for host in hosts if host.jobs])


def _spent(attempts: Sequence[WatchedAttempt]) -> Iterable[EarlierJob]:
    """Yield what each job took that ended well, with the meters inside it and its work before pauses and failures."""
    inside: dict[str, list[Interval | None]] = {}
    for one in attempts:
        inside.setdefault(one.id.partition(".")[0], []).append(one.energy)
    before: dict[PlannedJob, list[WatchedAttempt]] = {}
    for one in sorted(attempts, key=lambda one: one.start.wall_s or 0.0):
        if one.start.parent is not None or not (one.worked or one.state in ("paused", "succeeded")):
            continue
        stretches = before.setdefault(one.job, [])
        stretches.append(one)
        if one.state == "succeeded":
            energies = [energy for stretch in stretches for energy in inside[stretch.id]]
            known = [energy for energy in energies if energy is not None]
            energy = summed(known) if len(known) == len(energies) else None
            yield EarlierJob(one.job, energy, sum(stretch.duration_s for stretch in stretches))
            stretches.clear()


def _run(
    run_id: str, run: WorkflowRun | None, attempts: Sequence[WatchedAttempt], energies: Attribution, earlier: Earlier
) -> WatchedRun:
    """Return what one invocation's attempts and its run file say."""
    unended = [_open(one, energies) for one in attempts if one.state in ("running", "silent", "lost")]
    energy_of = {one.id: one.energy for one in attempts} | {one.attempt.id: one.energy for one in unended}
    known = [energy for energy in energy_of.values() if energy is not None]
    jobs = [one for one in attempts if one.start.parent is None]
    states = _states(jobs, run)
    goes_on = _goes_on(run, attempts)
    left = [job for job, state in states.items() if state in LEFT] if run and goes_on else None
    now = {one.attempt.job: one for one in unended if one.attempt.start.parent is None}
    spent_J = {job: sum(e.energy.value for e in unended if e.energy and _is_inside(e, one)) for job, one in now.items()}
    spent_s = {job: one.attempt.duration_s for job, one in now.items()}
    for stretch in (one for one in jobs if one.state == "paused" or (one.worked and one.state != "succeeded")):
        inside = [one.energy.value for one in attempts if one.energy and one.id.partition(".")[0] == stretch.id]
        spent_J[stretch.job] = spent_J.get(stretch.job, 0.0) + sum(inside)
        spent_s[stretch.job] = spent_s.get(stretch.job, 0.0) + stretch.duration_s
    number = Counter(states.values())
    counts = {state: None if run is None and state == "waiting" else number[state] for state in JOB_STATES}
    return WatchedRun(
        run_id=run_id,
        started_s=_started_s(run, attempts),
        ended_s=None if goes_on else _ended_s(run, attempts),
        goes_on=goes_on,
        jobs=counts,
        energy=None if attempts and not known else summed(known),
        unknown=len(attempts) - len(known),
        open=sorted((one for one in unended if one.attempt.state != "lost"), key=lambda one: one.attempt.start.id),
        energy_left=None if left is None else earlier.energy([(job, spent_J.get(job, 0.0)) for job in left]),
        time_left=None if left is None else _time_left(earlier, [(job, spent_s.get(job, 0.0)) for job in left], jobs),
    )


def _is_inside(one: OpenAttempt, other: OpenAttempt) -> bool:
    """Whether an attempt is another one, or a meter inside it."""
    return one.attempt.id.partition(".")[0] == other.attempt.id


def _states(attempts: Sequence[WatchedAttempt], run: WorkflowRun | None) -> dict[PlannedJob, JobState]:
    """Return the state of each job: that of its newest attempt, `waiting` without one or while it is paused."""
    states: dict[PlannedJob, JobState] = dict.fromkeys(run.jobs if run else (), "waiting")
    shown: dict[str, JobState] = {"succeeded": "done", "running": "running", "silent": "silent", "paused": "waiting"}
    for one in sorted(attempts, key=lambda one: one.start.wall_s or 0.0):
        states[one.job] = shown.get(one.state, "failed")
    return states


def _goes_on(run: WorkflowRun | None, attempts: Sequence[WatchedAttempt]) -> bool:
    """Whether a workflow still runs: its lock is held or, as far as another host can know, it has not said its end."""
    if any(one.state == "running" for one in attempts):
        return True
    if run is None or run.ended_s is not None:
        return False
    return run.locked or (run.boot_id != boot_id() and run.host != host_name())  # this host has been started again


def _started_s(run: WorkflowRun | None, attempts: Sequence[WatchedAttempt]) -> float:
    """Return when a run began (Unix time, s)."""
    return min([*([run.started_s] if run else []), *(one.start.wall_s or one.seen_s for one in attempts)])


def _ended_s(run: WorkflowRun | None, attempts: Sequence[WatchedAttempt]) -> float | None:
    """Return when a run was seen last (Unix time, s)."""
    seen = [one.seen_s for one in attempts]
    return max([*seen, *([run.ended_s] if run and run.ended_s else [])], default=None)


def _open(attempt: WatchedAttempt, energies: Attribution) -> OpenAttempt:
    """Return an unended attempt with its own energy and power, as attributed to it so far."""
    try:
        job = energies.job(attempt.id)
    except KeyError:
        return OpenAttempt(attempt, None, None)
    power_W = job_power_W(job, energies) if attempt.state == "running" else None
    return OpenAttempt(attempt, None if job.energy is None else job.energy.interval(), power_W)


def _time_left(
    earlier: Earlier, jobs: Sequence[tuple[PlannedJob, float]], attempts: Sequence[WatchedAttempt]
) -> Remaining:
    """Return the time until the jobs are done (s), if as many run at once as so far, and no less than the longest.

    Which job waits for which other is not considered: where jobs wait for each other, it takes longer.
    """
    one_by_one = earlier.time(jobs)
    if one_by_one.known is None:
        return one_by_one
    at_once = _at_once(attempts)
    least_s = earlier.longest_s(jobs)
    value, low, high = (None if one is None else max(least_s, one / at_once) for one in one_by_one.known)
    low = None if low is None or one_by_one.known.low is None else one_by_one.known.low / at_once
    return Remaining(PartialInterval(value or 0.0, low, high), one_by_one.unknown)


def _at_once(attempts: Sequence[WatchedAttempt]) -> float:
    """Return the mean number of jobs that ran at once while one ran; 1 before the first."""
    covered_s, until_s = 0.0, 0.0
    for start_s, end_s in sorted((one.start.wall_s or one.seen_s, one.seen_s) for one in attempts):
        covered_s += max(0.0, end_s - max(start_s, until_s))
        until_s = max(until_s, end_s)
    return max(1.0, sum(one.duration_s for one in attempts) / covered_s) if covered_s else 1.0


def _host(host: HostEnergy, attempts: Sequence[WatchedAttempt], energies: Attribution) -> WatchedHost:
    """Return a host's power over the last seconds that its meters sampled."""
    running = [one for one in attempts if one.state == "running" and one.start.boot_id == host.boot_id]
    power = host_power(host, {one.id for one in running}, energies)
    jobs = sum(one.start.parent is None for one in running)
    return WatchedHost(host.name, host.boot_id, jobs, power.power_W, power.qualities)
