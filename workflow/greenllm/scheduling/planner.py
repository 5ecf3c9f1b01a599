"""From jobs, what they are expected to take, and a signal to a plan: when to start what."""

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from greenllm.config.policy import Policy, seconds_of
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.scheduling.at_once import at_once, makespan
from greenllm.scheduling.device_search import cheapest_choice
from greenllm.scheduling.devices import Choices, Mode, Modes, first_free
from greenllm.scheduling.document import (
    POWER,
    DeviceOption,
    JobPlan,
    SchedulePlan,
    SharedLimits,
    SignalSource,
    TimeSpan,
    of_model,
)
from greenllm.scheduling.expectations import Expected
from greenllm.scheduling.forecast import Signal
from greenllm.scheduling.problem import MS, Activity, ActivityRun, Course, Problem, Runs, lasting_as
from greenllm.scheduling.solver import cheapest, shifted
from greenllm.scheduling.workflow_jobs import WorkflowJob
from greenllm.timestamps import rfc3339

# What a training needs to go on after a pause: start Python, load libraries, data and the checkpoint.
RESUME_S = 15.0
ROUNDING = 1e-6  # of a cost: times are whole milliseconds
DEFAULT_DELAY = "24h"


@dataclass(frozen=True)
class Planned:
    """The jobs to plan, what each is expected to take, and into how many pieces those that may pause are divided.

    `handover_s`: the longest time between the end of a job and the start of one behind it.
    `modes` are the devices on which it is known what a job takes, `cards` the models of the host's GPUs. `choices` are
    those of each job, `chosen` is the device on which it is to run; a job without one runs where it would run anyway.
    """

    jobs: Sequence[WorkflowJob]
    expected: Mapping[str, Expected]
    pieces: Mapping[str, int]
    handover_s: float = 0.0
    modes: Mapping[str, Modes] = field(default_factory=dict)
    cards: Sequence[str] = ()
    choices: Mapping[str, Choices] = field(default_factory=dict)
    chosen: Mapping[str, Mode] = field(default_factory=dict)

    def without_choice(self, name: str) -> Expected:
        """Return what a job takes where it runs without a choice."""
        own = self.choices.get(name)
        return own.modes[0].expected if own and own.modes else self.expected[name]

    def at_first_free(self, limits: Mapping[str, float]) -> "Planned":
        """Return the jobs with the choices of each that may be moved: a job leases the first free card without one."""
        runs = at_once(self.activities(cautious=False), limits)
        cards = first_free(self.jobs, runs, self.cards)
        choices = {name: modes.beside(cards.get(name, "a GPU")) for name, modes in self.modes.items()}
        first = {name: own.modes[0] for name, own in choices.items() if own.modes}
        return replace(self, choices=choices, chosen=first)

    def takes(self, name: str) -> Expected:
        """Return what a job takes where it is to run."""
        return self.chosen[name].expected if name in self.chosen else self.without_choice(name)

    def activities(self, *, cautious: bool) -> list[Activity]:
        """Return the jobs as activities, with room for their expected run times or, if cautious, the upper bounds.

        Both cost what is expected.
        """
        return [self._activity(job, cautious) for job in self.jobs]

    def _activity(self, job: WorkflowJob, cautious: bool) -> Activity:
        expected = self.takes(job.name)
        duration_s = (expected.duration_s.high if cautious else expected.duration_s.value) + self.handover_s
        pieces = self.pieces.get(job.name, 1)
        uses = {"cores": float(job.threads), "gpus": float(job.gpus), POWER: expected.power_W}
        if (mode := self.chosen.get(job.name)) is not None:
            uses |= {"gpus": float(mode.gpus), of_model(mode.device): float(mode.gpus)}
        return Activity(
            job.name,
            math.ceil(duration_s * MS),
            power_W=expected.power_W,
            after=job.after,
            uses=uses,
            pieces=pieces,
            resume=round(RESUME_S * MS) if pieces > 1 else 0,
            expected=math.ceil(expected.duration_s.value * MS),
        )


def plan(planned: Planned, policy: Policy, signal: Signal, limits: SharedLimits, begin_s: float) -> SchedulePlan:
    """Return the plan that costs least by the signal, with all jobs done by the policy's deadline.

    There is room for the upper bounds of run times where the deadline allows that, so that jobs start as planned. Costs
    are those of the expected run times. Where the starts at once cost less than any schedule found, they are the plan.
    Raises UserError where the deadline can't be met, the power budget is too small, or the signal does not cover all.
    """
    shared = limits.resources()
    free = {name: limit for name, limit in shared.items() if name != POWER}
    planned = planned.at_first_free(free)
    plain = at_once(planned.activities(cautious=False), free)
    latest_s = deadline_of(policy, begin_s, makespan(plain) / MS, signal)
    deadline = math.floor((latest_s - begin_s) * MS)
    course = signal.course(begin_s, latest_s)
    unchosen = replace(planned, chosen={})
    planned = _with_devices(planned, course, deadline, shared)
    _require_power(planned, policy)
    activities = planned.activities(cautious=False)
    careful = planned.activities(cautious=True)
    cautious = makespan(at_once(careful, shared)) <= deadline
    used = careful if cautious else activities
    needed = makespan(at_once(used, shared))
    if needed > deadline:
        raise UserError(
            f"policy: started at once, the jobs need until {rfc3339(begin_s + needed / MS)}, but the deadline is "
            f"{rfc3339(latest_s)}; set a later policy.deadline, a longer max_delay, or a larger power_budget_W"
        )
    found = cheapest(Problem(used, course, deadline, shared))
    write = partial(
        _written, policy=policy, signal=signal, limits=limits, begin_s=begin_s, latest_s=latest_s, cautious=cautious,
        plain=plain, course=course, gap=found.gap,
    )  # fmt: skip
    best = write(planned, runs=found.runs)
    without = Problem(unchosen.activities(cautious=False), course, deadline, shared)
    dearer = best.cost - best.cost_at_once > ROUNDING * abs(best.cost_at_once)
    if dearer and makespan(plain) <= deadline and without.keeps_limits(plain):
        return write(unchosen, runs=plain).model_copy(update={"starts_at_once": True, "cautious": False})
    return best


def _with_devices(planned: Planned, course: Course, deadline: int, limits: Mapping[str, float]) -> Planned:
    """Return the jobs with the device of each that may run on several; one that alone exceeds the power is left out."""
    most_W = limits.get(POWER, math.inf)
    modes = {
        name: [mode for mode in own.modes if mode.expected.power_W <= most_W] or own.modes
        for name, own in planned.choices.items()
        if len(own.modes) > 1
    }

    def judge(chosen: Mapping[str, Mode]) -> tuple[float, int]:
        problem = Problem(replace(planned, chosen=chosen).activities(cautious=False), course, deadline, limits)
        plain = at_once(problem.activities, limits)
        until = makespan(plain)
        return shifted(problem, plain).cost if until <= deadline else math.inf, until

    return replace(planned, chosen=cheapest_choice(modes, judge) if modes else {})


def deadline_of(policy: Policy, begin_s: float, needed_s: float, signal: Signal) -> float:
    """Return when all jobs must be done (Unix time, s).

    Without a deadline of the policy, it is at the end of the signal at the latest. Raises UserError for a deadline in
    the past.
    """
    delayed_s = begin_s + needed_s + seconds_of(policy.max_delay or DEFAULT_DELAY)
    if policy.deadline is not None:
        require_future(policy.deadline, begin_s)
        deadline_s = datetime.fromisoformat(policy.deadline).timestamp()
        return deadline_s if policy.max_delay is None else min(deadline_s, delayed_s)
    known_s = min((file.series.ends[-1] for file in signal.files), default=delayed_s)
    return delayed_s if known_s < begin_s + needed_s else min(delayed_s, known_s)


def require_future(deadline: str, begin_s: float) -> None:
    """Raise UserError if a deadline is before the earliest start (Unix time, s)."""
    if datetime.fromisoformat(deadline).timestamp() <= begin_s:
        raise UserError(
            f"policy.deadline: {deadline} is in the past; jobs start at {rfc3339(begin_s)} (UTC) at the earliest; set "
            "a later one, or leave it out"
        )


def _require_power(planned: Planned, policy: Policy) -> None:
    budget_W = policy.power_budget_W
    if budget_W is None or not planned.jobs:
        return
    most = max(planned.jobs, key=lambda job: planned.takes(job.name).power_W)
    power_W = planned.takes(most.name).power_W
    if power_W > budget_W:
        raise UserError(
            f"policy.power_budget_W: {budget_W:g}, but {most.name} alone takes {power_W:.4g} W "
            f"({planned.takes(most.name).source}); set at least that"
        )


def _written(
    planned: Planned,
    policy: Policy,
    signal: Signal,
    limits: SharedLimits,
    begin_s: float,
    latest_s: float,
    cautious: bool,
    runs: Runs,
    plain: Runs,
    course: Course,
    gap: float,
) -> SchedulePlan:
    rows = []
    moved: list[tuple[Moved, Moved]] = []
    for job in planned.jobs:
        expected, before = planned.takes(job.name), planned.without_choice(job.name)
        choices, mode = planned.choices.get(job.name, Choices()), planned.chosen.get(job.name)
        own = runs[job.name]
        resuming_s = RESUME_S * (len(own) - 1)
        lasting = lasting_as(own, math.ceil((expected.duration_s.value + resuming_s) * MS))
        once = lasting_as(plain[job.name], math.ceil(before.duration_s.value * MS))
        as_planned, as_before = Moved(expected, lasting, expected.power_W * resuming_s), Moved(before, once)
        moved.append((as_planned, as_before))
        rows.append(
            JobPlan(
                name=job.name,
                rule=job.rule,
                wildcards=dict(job.wildcards),
                after=list(job.after),
                threads=job.threads,
                gpus=job.gpus,
                runs=[stretch(run, begin_s) for run in lasting],
                at_once=stretch(once[0], begin_s),
                duration_s=expected.duration_s,
                energy_J=expected.energy_J,
                source=expected.source,
                device=mode.device if mode else None,
                device_at_once=choices.modes[0].device if mode else None,
                duration_at_once_s=before.duration_s if mode else None,
                energy_at_once_J=before.energy_J if mode else None,
                devices=[
                    DeviceOption(
                        device=one.device,
                        duration_s=one.expected.duration_s,
                        energy_J=one.expected.energy_J,
                        source=one.expected.source,
                    )
                    for one in choices.modes
                ],
                stays=choices.reason,
                pieces=planned.pieces.get(job.name, 1),
                cost=as_planned.costs(course)[0],
                cost_at_once=as_before.costs(course)[0],
            )
        )
    bounds = signal.bounds(begin_s, latest_s)
    cost, cost_at_once = sum(row.cost for row in rows), sum(row.cost_at_once for row in rows)
    return SchedulePlan(
        made=rfc3339(time.time()),
        objective=policy.objective or "",
        unit=signal.unit,
        signal=sources(signal),
        begin=rfc3339(begin_s),
        deadline=rfc3339(latest_s),
        limits=limits,
        cautious=cautious,
        jobs=rows,
        cost=cost,
        cost_at_once=cost_at_once,
        saving=_saving(moved, course, bounds),
        signal_bounds=bounds is not None,
        gap=gap,
    )


@dataclass(frozen=True)
class Moved:
    """A job's runs, what it takes in them, and what resuming after pauses takes (J, at its expected power)."""

    expected: Expected
    runs: Sequence[ActivityRun]
    resuming_J: float = 0.0

    @property
    def energy_J(self) -> float:
        """The expected energy, with that of resuming."""
        return self.expected.energy_J.value + self.resuming_J

    def costs(self, course: Course) -> tuple[float, float, float]:
        """Return the cost of the energy, of its lower and of its upper bound."""
        value, low, high = (
            energy_cost(joules + self.resuming_J, self.runs, course) for joules in self.expected.energy_J
        )
        return value, low, high


def _saving(moved: Iterable[tuple[Moved, Moved]], course: Course, bounds: tuple[Course, Course] | None) -> Interval:
    """Return the expected saving with 95 % bounds, of jobs as planned and as they run without a policy.

    The errors of energies and those of the signal are independent, and add in quadrature; those of one kind are taken
    as fully correlated between jobs. The signal's errors now and at the planned time are taken as independent, and so
    are those of a job's energies on two devices.
    """
    value, energy_low, energy_high, signal_half = 0.0, 0.0, 0.0, 0.0
    for planned, plain in moved:
        (cost, *at_bounds), (before, *before_at_bounds) = planned.costs(course), plain.costs(course)
        saved = before - cost
        value += saved
        if planned.expected == plain.expected:
            worse, better = sorted(one - other for one, other in zip(before_at_bounds, at_bounds, strict=True))
            energy_low += saved - worse
            energy_high += better - saved
        else:
            energy_low += math.hypot(before - min(before_at_bounds), max(at_bounds) - cost)
            energy_high += math.hypot(max(before_at_bounds) - before, cost - min(at_bounds))
        if bounds is not None and (planned.expected != plain.expected or list(planned.runs) != list(plain.runs)):
            signal_half += math.hypot(
                *(
                    one.energy_J * (mean_rate(one.runs, bounds[1]) - mean_rate(one.runs, bounds[0])) / 2
                    for one in (planned, plain)
                )
            )
    return Interval(value, value - math.hypot(energy_low, signal_half), value + math.hypot(energy_high, signal_half))


def mean_rate(runs: Sequence[ActivityRun], course: Course) -> float:
    """Return the mean of the signal over runs, weighted by time; of a run without length its value there."""
    total = sum(run.end - run.start for run in runs)
    if total <= 0:
        return float(course.mean(runs[0].start, runs[0].start + 1))
    return sum(float(course.mean(run.start, run.end)) * (run.end - run.start) for run in runs) / total


def energy_cost(energy_J: float, runs: Sequence[ActivityRun], course: Course) -> float:
    """Return what an energy costs that is spread evenly over runs."""
    return energy_J * mean_rate(runs, course)


def stretch(run: ActivityRun, begin_s: float) -> TimeSpan:
    """Return a run as plan.json has it."""
    return TimeSpan(start=rfc3339(begin_s + run.start / MS), end=rfc3339(begin_s + run.end / MS))


def sources(signal: Signal) -> list[SignalSource]:
    """Return the files of a signal with their hashes."""
    return [
        SignalSource(
            path=file.path, sha256=hashlib.sha256(Path(file.path).read_bytes()).hexdigest(), unit=file.series.unit
        )
        for file in signal.files
    ]
