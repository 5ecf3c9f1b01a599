"""What a plan saved: the ledgers' energies times the signal, against the same jobs started at once."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from greenllm.attribution.jobs import JobEnergy
from greenllm.errors import UserError
from greenllm.estimate import Estimate, Interval, total
from greenllm.ledger.records import device_of
from greenllm.scheduling.at_once import at_once, makespan
from greenllm.scheduling.document import POWER, JobPlan, ScheduledJob, ScheduleOutcome, SchedulePlan
from greenllm.scheduling.forecast import RAN, Signal, signal_of
from greenllm.scheduling.planner import RESUME_S, mean_rate, sources, stretch
from greenllm.scheduling.problem import MS, Activity, ActivityRun, Course, Problem
from greenllm.scheduling.solver import cheapest
from greenllm.scheduling.workflow_jobs import name_of
from greenllm.study import layout
from greenllm.study.models import Config


class _Attempt(NamedTuple):
    """An attempt at a job: when it ran, and its energy. `after_pause`: it resumed a training that had paused."""

    run: ActivityRun
    energy: Estimate
    after_pause: bool

    @property
    def duration(self) -> int:
        return self.run.end - self.run.start


@dataclass(frozen=True)
class _Ran:
    """A planned job that ran: its attempts with their energies; times in ms from the plan's begin."""

    plan: JobPlan
    attempts: Sequence[_Attempt]
    device: str | None

    @property
    def energy(self) -> Estimate:
        return total(one.energy for one in self.attempts)

    @property
    def duration(self) -> int:
        return sum(one.duration for one in self.attempts)

    @property
    def at_once(self) -> tuple[Estimate, int]:
        """What it would have taken without pauses: energy and time (ms), without those of resuming after each."""
        energy, duration = self.energy, self.duration
        for one in self.attempts:
            if one.after_pause and one.duration:
                resuming = min(round(RESUME_S * MS), one.duration)
                energy += one.energy.scaled(-resuming / one.duration)
                duration -= resuming
        return energy, duration

    def cost(self, course: Course) -> Estimate:
        """Return what it cost, in the signal's unit."""
        return total(one.energy.scaled(mean_rate([one.run], course)) for one in self.attempts)

    def device_saving(self, rate: float) -> Interval | None:
        """Return what the choice of the device saved at a cost of a joule, by earlier runs on the other device.

        None if it ran where it would have run anyway.
        """
        other_J = self.plan.energy_at_once_J
        if other_J is None or self.device in (None, self.plan.device_at_once):
            return None
        own_J = self.energy
        saving_J = other_J.value - own_J.value
        less_J = math.hypot(other_J.value - other_J.low, own_J.high - own_J.value)
        more_J = math.hypot(other_J.high - other_J.value, own_J.value - own_J.low)
        savings = [joules * rate for joules in (saving_J, saving_J - less_J, saving_J + more_J)]
        return Interval(savings[0], min(savings), max(savings))

    def activity(self, known: set[str]) -> Activity:
        """Return the job as it ran, after those of the jobs before it that ran, too."""
        energy, duration = self.at_once
        return Activity(
            self.plan.name,
            duration,
            power_W=energy.value / duration * MS if duration else 0.0,
            after=tuple(name for name in self.plan.after if name in known),
            uses=self.plan.uses,
            pieces=self.plan.pieces,
            resume=round(RESUME_S * MS) if self.plan.pieces > 1 else 0,
        )


def outcome_of_study(config: Config, results: Path, jobs: Iterable[JobEnergy]) -> ScheduleOutcome | None:
    """Return what the plan of a study saved, by the signal as it turned out, else by the forecast.

    None without a policy or a plan. Raises the UserErrors of `outcome`, and those of reading plan and signal.
    """
    path = layout.located(layout.PLAN, results)
    if config.policy.objective is None or not path.is_file():
        return None
    recorded = signal_of(config.policy, "recorded")
    signal = recorded or signal_of(config.policy.model_copy(update={"max_age": None}))
    if signal is None:
        raise UserError("policy.signal: names no file")
    return outcome(SchedulePlan.read(path), jobs, signal, recorded=recorded is not None)


def outcome(plan: SchedulePlan, jobs: Iterable[JobEnergy], signal: Signal, *, recorded: bool) -> ScheduleOutcome:
    """Return what a plan saved.

    `jobs` are all attempts of the ledgers; those after the plan was made count, also the failed ones. `recorded` says
    that the signal is as it turned out. The best saving is that until the deadline, or the end of the signal if it ends
    before. Raises UserError where none of the jobs ran, or where the signal does not cover the times at which they ran
    or would have run at once.
    """
    begin_s = _unix(plan.begin)
    ran, running, unknown = _ran(plan, jobs, begin_s)
    if not ran and unknown:
        raise UserError("the energy of all planned jobs that ran since the plan was made is unknown")
    if not ran:
        raise UserError("none of the planned jobs has run since the plan was made")
    ended = max([*(each.run.end for one in ran.values() for each in one.attempts), *unknown.values()])
    deadline = round((_unix(plan.deadline) - begin_s) * MS)
    earliest = min(0, *(each.run.start for one in ran.values() for each in one.attempts))
    activities = [one.activity(set(ran)) for one in ran.values()]
    limits = {name: limit for name, limit in plan.limits.resources().items() if name != POWER}
    plain = at_once(activities, limits)
    needed = max(ended, makespan(plain))
    known_s = signal.known_until(begin_s + earliest / MS)
    horizon = max(needed, math.floor(min(deadline, (known_s - begin_s) * MS)))
    course = _shifted(signal.course(begin_s + earliest / MS, begin_s + horizon / MS, RAN), earliest)
    costs, costs_at_once, rows = [], [], []
    for name, one in ran.items():
        first = stretch(one.attempts[0].run, begin_s)
        costs.append(one.cost(course))
        costs_at_once.append(one.at_once[0].scaled(mean_rate(plain[name], course)))
        rows.append(
            ScheduledJob(
                name=name,
                planned=one.plan.runs[0].start,
                runs=[stretch(each.run, begin_s) for each in one.attempts],
                at_once=stretch(plain[name][0], begin_s),
                delay_s=_unix(first.start) - _unix(one.plan.runs[0].start),
                energy_J=one.energy.interval(),
                cost=costs[-1].interval(),
                cost_at_once=costs_at_once[-1].interval(),
                device=one.device if one.plan.device else None,
                device_at_once=one.plan.device_at_once,
                device_saving=one.device_saving(mean_rate(plain[name], course)),
            )
        )
    cost, cost_at_once = total(costs), total(costs_at_once)
    saving = cost_at_once + cost.scaled(-1)
    best = max(cost_at_once.value - cheapest(Problem(activities, course, horizon, limits)).cost, saving.value)
    return ScheduleOutcome(
        objective=plan.objective,
        unit=plan.unit,
        signal=sources(signal),
        recorded=recorded,
        deadline=plan.deadline,
        ended=stretch(ActivityRun(0, ended), begin_s).end,
        late_s=max(0.0, (ended - deadline) / MS),
        jobs=rows,
        not_run=_not_run(plan, ran.keys() | unknown.keys(), running),
        unknown=list(unknown),
        cost=cost.interval(),
        cost_at_once=cost_at_once.interval(),
        saving=saving.interval(),
        expected_saving=plan.saving,
        device_saving=_together([row.device_saving for row in rows if row.device_saving is not None]),
        best_saving=best,
        regret=best - saving.value,
    )


def _ran(
    plan: SchedulePlan, jobs: Iterable[JobEnergy], begin_s: float
) -> tuple[Mapping[str, _Ran], set[str], Mapping[str, int]]:
    """Return the planned jobs that ran since the plan was made, in the plan's order, and the names of those running.

    Those of which an attempt's energy is unknown are apart, by name with their ends.
    """
    unknown: dict[str, int] = {}
    attempts: dict[str, list[_Attempt]] = {}
    paused: set[str] = set()
    devices: dict[str, str | None] = {}
    running: set[str] = set()
    for job in jobs:
        if job.parent is not None or job.rule is None or _unix(job.started) < _unix(plan.made):
            continue
        name = name_of(job.rule, {key: str(value) for key, value in job.wildcards.items()})
        if job.status == "running":
            running.add(name)
        energy = job.energy_with_children
        if job.ended is None:
            continue
        start, end = (round((_unix(time) - begin_s) * MS) for time in (job.started, job.ended))
        if energy is None:
            unknown[name] = end
            continue
        device = device_of(job.attempt.start.gpus)
        devices[name] = device if devices.setdefault(name, device) == device else None
        attempts.setdefault(name, []).append(_Attempt(ActivityRun(start, end), energy, name in paused))
        (paused.add if job.status == "paused" else paused.discard)(name)
    names = [job.name for job in plan.jobs]
    ran = {
        job.name: _Ran(job, attempts[job.name], devices[job.name])
        for job in plan.jobs
        if job.name in attempts and job.name not in unknown
    }
    return ran, running, {name: unknown[name] for name in names if name in unknown}


def _together(savings: Sequence[Interval]) -> Interval | None:
    """Return the sum of savings, their errors taken as fully correlated; None if there are none."""
    return Interval(*map(sum, zip(*savings, strict=True))) if savings else None


def _not_run(plan: SchedulePlan, ran: Set[str], running: set[str]) -> list[str]:
    """Return the jobs that did not run; those behind one that runs now, such as the account, are still to come."""
    to_come = set(running)
    for job in plan.jobs:  # each behind those that it needs
        if to_come.intersection(job.after):
            to_come.add(job.name)
    return [job.name for job in plan.jobs if job.name not in ran | to_come]


def _shifted(course: Course, by: int) -> Course:
    return Course(course.edges + by, course.rates)


def _unix(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
