"""What a job is expected to take: run time and energy with bounds, from earlier ledgers, else from a model."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scipy.stats import t as student

from greenllm.attribution.jobs import JobEnergy
from greenllm.estimate import Interval
from greenllm.ledger.records import device_of
from greenllm.scheduling.workflow_jobs import WorkflowJob, name_of
from greenllm.study.modelled_power import Reserved, modelled_power

# Of one earlier run alone: how much the next one may differ. Jobs of one kind on one host differ by some percent, a
# busy host doubles a run time; there is no figure of more general validity.
LEAST_SHARE, MOST_SHARE = 0.8, 1.5
# Without any earlier run: parts of the longest run time that the configuration allows.
MODEL_SHARES = (0.1, 0.01, 1.0)
MODEL_RUNTIME_MIN = 60.0
# In the source of an expectation: the job, or one before it, ran with other settings than it has now.
OTHER = "with other settings"


@dataclass(frozen=True)
class Expected:
    """The expected run time (s) and energy (J) of a job, with 95 % bounds, and what they rest on."""

    duration_s: Interval
    energy_J: Interval
    source: str

    @property
    def power_W(self) -> float:
        """The mean power."""
        return self.energy_J.value / self.duration_s.value if self.duration_s.value > 0 else 0.0


@dataclass(frozen=True)
class EarlierRun:
    """A job that was done: its run time (s) and its energy (J), meters inside it and pauses at checkpoints included.

    `host` and `device` are where it ran: `cpu` or its GPUs' model (None: not on one device); `work` is what it did, by
    unit. `errors_J` are the distances of the sensors' 95 % bounds below and above the energy, which all runs share.
    `settings` are the words of its command that are no paths.
    """

    rule: str
    name: str
    duration_s: float
    energy_J: float
    wildcards: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    device: str | None = None
    work: Mapping[str, float] = field(default_factory=dict)
    errors_J: tuple[float, float] = (0.0, 0.0)
    settings: Sequence[str] = ()

    @property
    def experiment_and_recipe(self) -> tuple[str | None, str | None]:
        """What the job belongs to, whatever its seed."""
        return self.wildcards.get("experiment"), self.wildcards.get("recipe")


def earlier_runs(jobs: Iterable[JobEnergy]) -> list[EarlierRun]:
    """Return the jobs that succeeded and whose energy is known.

    What a job took before its pauses is added to its end, also where an attempt failed between: the next one goes on
    from the checkpoint. So is a failed attempt that reported work, since a training does so at each checkpoint; what it
    took after its last checkpoint is done twice, and is in the sum. An attempt whose meter was killed reports none.
    """
    before: dict[str, EarlierRun] = {}
    found = []
    for job in jobs:
        start_s = job.attempt.start.monotonic_s
        energy = job.energy_with_children
        if job.parent is not None or job.rule is None or energy is None or job.ended_s is None or start_s is None:
            continue
        wildcards = {key: str(value) for key, value in job.wildcards.items()}
        run = EarlierRun(
            job.rule,
            name_of(job.rule, wildcards),
            job.ended_s - start_s,
            energy.value,
            wildcards,
            job.host,
            device_of(job.attempt.start.gpus),
            {unit: float(amount) for unit, amount in job.work.items() if isinstance(amount, int | float)},
            (energy.value - energy.low, energy.high - energy.value),
            [word for word in job.attempt.start.command or () if "/" not in word or word.startswith("{")],
        )
        if job.status not in ("paused", "succeeded") and not any(run.work.values()):
            continue
        if (unfinished := before.pop(run.name, None)) is not None:
            run = _joined(unfinished, run)
        if job.status == "succeeded":
            found.append(run)
        else:
            before[run.name] = run
    return found


def _joined(first: EarlierRun, rest: EarlierRun) -> EarlierRun:
    """Return a run up to a checkpoint and the one that went on from there as one."""
    units = first.work.keys() | rest.work.keys()
    return replace(
        rest,
        duration_s=first.duration_s + rest.duration_s,
        energy_J=first.energy_J + rest.energy_J,
        device=rest.device if (first.host, first.device) == (rest.host, rest.device) else None,
        work={unit: first.work.get(unit, 0.0) + rest.work.get(unit, 0.0) for unit in units},
        errors_J=(first.errors_J[0] + rest.errors_J[0], first.errors_J[1] + rest.errors_J[1]),
    )


def expected(jobs: Sequence[WorkflowJob], earlier: Sequence[EarlierRun]) -> dict[str, Expected]:
    """Return what each job is expected to take, by the job's name.

    Of its own earlier runs, those count whose command had the settings of the last one.
    """
    by_name: dict[str, list[EarlierRun]] = {}
    by_rule: dict[str, list[EarlierRun]] = {}
    for run in earlier:
        by_name.setdefault(run.name, []).append(run)
        by_rule.setdefault(run.rule, []).append(run)
    found = {}
    for job in jobs:
        if ran := by_name.get(job.name):
            own = [run for run in ran if run.settings == ran[-1].settings]
            source = f"{len(own)} earlier run{'s' * (len(own) > 1)}"
            found[job.name] = _of_alike(own, f"{source}, {OTHER}") if job.changed else of_runs(own, source)
        elif alike := by_rule.get(job.rule):
            found[job.name] = _of_alike(alike, f"{len(alike)} others of the rule")
        else:
            found[job.name] = _of_model(job)
    return found


def of_runs(runs: Sequence[EarlierRun], source: str) -> Expected:
    """Return what the next run of a job is expected to take, by earlier ones."""
    duration, energy = _prediction([run.duration_s for run in runs]), _prediction([run.energy_J for run in runs])
    return Expected(duration, _with_sensors(energy, runs), source)


def _with_sensors(energy: Interval, runs: Sequence[EarlierRun]) -> Interval:
    """Widen an energy by the sensors' mean errors, which are independent of the spread between runs."""
    below, above = (statistics.fmean(errors) for errors in zip(*(run.errors_J for run in runs), strict=True))
    low = max(0.0, energy.value - math.hypot(energy.value - energy.low, below))
    return Interval(energy.value, low, energy.value + math.hypot(energy.high - energy.value, above))


def _of_alike(runs: Sequence[EarlierRun], source: str) -> Expected:
    """Return what jobs took that are like this one, with the least and the most of them as bounds at least."""

    def of(values: Sequence[float]) -> Interval:
        around = _prediction(values)
        return Interval(
            around.value, min(around.low, min(values) * LEAST_SHARE), max(around.high, max(values) * MOST_SHARE)
        )

    energy = _with_sensors(of([run.energy_J for run in runs]), runs)
    return Expected(of([run.duration_s for run in runs]), energy, source)


def _prediction(values: Sequence[float]) -> Interval:
    """Return the mean with 95 % bounds for one more value (prediction interval of a normal distribution)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean, mean * LEAST_SHARE, mean * MOST_SHARE)
    count = len(values)
    half = float(student.ppf(0.975, count - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / count)
    return Interval(mean, max(0.0, mean - half), mean + half)


def _of_model(job: WorkflowJob) -> Expected:
    """Return a rough guess: a part of the longest run time allowed, and the power of its processors and GPUs."""
    limit_s = (job.runtime_min or MODEL_RUNTIME_MIN) * 60
    duration = Interval(*(share * limit_s for share in MODEL_SHARES))
    power = modelled_power(Reserved(job.threads, job.gpus, nodes=job.nodes))
    energy = Interval(duration.value * power.value, duration.low * power.low, duration.high * power.high)
    return Expected(duration, energy, "model: no earlier run of this rule")
