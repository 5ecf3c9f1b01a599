"""What a job would take on each device of this host, by earlier ledgers: run time and energy on GPUs and processors."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from greenllm.device_choice import CPU
from greenllm.errors import UserError, listed
from greenllm.scheduling.expectations import EarlierRun, Expected, of_runs
from greenllm.scheduling.problem import Runs
from greenllm.scheduling.workflow_jobs import WorkflowJob

# Stages whose results are compared by their quality alone; the others are measured, and stay where they are.
MAY_MOVE = ("train", "compress")
UNITS = ("tokens", "samples", "flops")  # of work, the first that all runs have


@dataclass(frozen=True)
class Mode:
    """A device on which a job may run, with its number of GPUs, and what it is expected to take there."""

    device: str
    gpus: int
    expected: Expected


@dataclass(frozen=True)
class Modes:
    """The devices on which it is known what a job takes, by name; `allowed` are those to choose from.

    `stays` says why the job can't be moved at all, `unknown` are the devices of which nothing is known.
    """

    known: Mapping[str, Mode] = field(default_factory=dict)
    allowed: Collection[str] = ()
    unknown: Sequence[str] = ()
    stays: str | None = None

    def beside(self, device: str) -> "Choices":
        """Return the choices of a job that would run on a device without one."""
        if self.stays is None and device not in self.known:
            return Choices([], f"no earlier run on {device}, where it runs without a choice")
        if self.stays is not None:
            return Choices([], self.stays)
        others = [mode for name, mode in self.known.items() if name in self.allowed and name != device]
        return Choices(
            [self.known[device], *others], f"no earlier run on {listed(self.unknown)}" if self.unknown else None
        )


@dataclass(frozen=True)
class Choices:
    """The modes to choose from, that without a choice first; none where the job stays. `reason`: why others are not."""

    modes: Sequence[Mode] = ()
    reason: str | None = None


@dataclass(frozen=True)
class HostDevices:
    """The devices of a host: its name, and the model of each GPU, in the order in which they are leased."""

    host: str
    cards: Sequence[str]

    @property
    def models(self) -> dict[str, int]:
        """The number of GPUs of each model."""
        return dict(Counter(self.cards))

    def chosen(self, asked: bool | Sequence[str]) -> list[str]:
        """Return the devices to choose from: all, or those asked for. Raises UserError for one that is not there."""
        every = [CPU, *self.models]
        if isinstance(asked, bool):
            return every if asked else []
        if unknown := [name for name in asked if name not in every]:
            raise UserError(
                f"policy.devices: {listed(unknown)}: no such device on {self.host}; there are: {listed(every)}"
            )
        return list(dict.fromkeys(asked))


def modes_of(
    jobs: Sequence[WorkflowJob],
    earlier: Sequence[EarlierRun],
    devices: HostDevices,
    allowed: Collection[str],
    fixed: Collection[str],
) -> dict[str, Modes]:
    """Return the modes of each job that may use a GPU, by the job's name.

    `allowed` are the devices to choose from; `fixed` are the jobs that compute in several processes, which stay.
    """
    here = RunsByJob(run for run in earlier if run.host == devices.host)
    found = {}
    for job in jobs:
        if not job.gpus or job.rule not in MAY_MOVE or not devices.cards:
            continue
        if job.name in fixed or job.gpus > 1:
            found[job.name] = Modes(stays="computes on several GPUs")
            continue
        expected = {name: here.expected_on(job, name) for name in (CPU, *devices.models)}
        found[job.name] = Modes(
            {name: Mode(name, int(name != CPU), one) for name, one in expected.items() if one is not None},
            allowed,
            [name for name, one in expected.items() if one is None and name in allowed],
        )
    return found


def first_free(jobs: Sequence[WorkflowJob], runs: Runs, cards: Sequence[str]) -> dict[str, str]:
    """Return the model of the card that each job with one GPU leases if it takes the first free one when it starts."""
    until = [0] * len(cards)
    found = {}
    for job in sorted((job for job in jobs if job.gpus), key=lambda job: runs[job.name][0].start):
        run = runs[job.name][0]
        free = [place for place, end in enumerate(until) if end <= run.start][: job.gpus]
        for place in free:
            until[place] = run.end
        if job.gpus == 1 and free:
            found[job.name] = cards[free[0]]
    return found


class RunsByJob:
    """Earlier runs of one host by what they have in common with a job: a job reads these alone, not all runs."""

    def __init__(self, runs: Iterable[EarlierRun]) -> None:
        self._runs: dict[tuple[str | None, ...], list[EarlierRun]] = defaultdict(list)
        self._of_kind: dict[tuple[str, str, str | None, str | None], Expected | None] = {}
        for run in runs:
            kind = run.experiment_and_recipe
            for key in (
                ("job", run.rule, run.device, run.name),
                ("kind", run.rule, run.device, *kind),
                ("recipe", run.rule, run.device, kind[1]),
                ("kind anywhere", run.rule, *kind),
            ):
                self._runs[key].append(run)

    def expected_on(self, job: WorkflowJob, device: str) -> Expected | None:
        """Return what a job takes on a device; None where no earlier run is known.

        By runs of the job itself; else by those of its experiment and recipe with another seed; else, for each unit of
        work, by those of its recipe, if it is known how much work the job is.
        """
        if own := self._runs.get(("job", job.rule, device, job.name)):
            return of_runs(own, f"{_count(own)} on {device}")
        kind = (job.rule, device, job.wildcards.get("experiment"), job.wildcards.get("recipe"))
        if kind not in self._of_kind:
            self._of_kind[kind] = self._expected_of(*kind)
        return self._of_kind[kind]

    def _expected_of(self, rule: str, device: str, experiment: str | None, recipe: str | None) -> Expected | None:
        if alike := self._runs.get(("kind", rule, device, experiment, recipe)):
            return of_runs(alike, f"{_count(alike)} on {device}, with another seed")
        of_recipe = self._runs.get(("recipe", rule, device, recipe), [])
        known = self._runs.get(("kind anywhere", rule, experiment, recipe), [])
        for unit in UNITS:
            if of_recipe and known and all(run.work.get(unit) for run in (*of_recipe, *known)):
                work = sum(run.work[unit] for run in known) / len(known)
                scaled = [_scaled(run, work / run.work[unit]) for run in of_recipe]
                return of_runs(scaled, f"{unit} of {len(of_recipe)} runs of the recipe on {device}")
        return None


def _count(runs: Sequence[EarlierRun]) -> str:
    return f"{len(runs)} earlier run{'s' * (len(runs) > 1)}"


def _scaled(run: EarlierRun, factor: float) -> EarlierRun:
    errors_J = run.errors_J[0] * factor, run.errors_J[1] * factor
    return replace(run, duration_s=run.duration_s * factor, energy_J=run.energy_J * factor, errors_J=errors_J)
