"""What a job would take on each device of this host, by earlier ledgers: run time and energy on GPUs and processors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from greenllm.device_choice import CPU
from greenllm.errors import UserError, listed
from greenllm.scheduling.expectations import EarlierRun, Expected, of_runs
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
    """The modes of a job, that without a choice first; fewer than two where it stays, and `reason` says why."""

    modes: Sequence[Mode]
    reason: str | None = None


@dataclass(frozen=True)
class HostDevices:
    """The devices of a host: its name, and the number of GPUs of each model, in the order in which they are leased."""

    host: str
    gpus: Mapping[str, int]

    def chosen(self, asked: bool | Sequence[str]) -> list[str]:
        """Return the devices to choose from: all, or those asked for. Raises UserError for one that is not there."""
        every = [CPU, *self.gpus]
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

    `allowed` are the devices to choose from; `fixed` are the jobs that compute on several GPUs at once, which stay.
    """
    here = [run for run in earlier if run.host == devices.host]
    return {
        job.name: _modes(job, here, devices, allowed, job.name in fixed)
        for job in jobs
        if job.gpus and job.rule in MAY_MOVE and devices.gpus
    }


def _modes(
    job: WorkflowJob, earlier: Sequence[EarlierRun], devices: HostDevices, allowed: Collection[str], fixed: bool
) -> Modes:
    if fixed or job.gpus > 1:
        return Modes([], "computes on several GPUs")
    first = next(iter(devices.gpus))  # a job that may use any GPU leases the first free one
    others = [name for name in allowed if name != first]
    expected = {name: expected_on(job, earlier, name) for name in (first, *others)}
    known = [Mode(name, int(name != CPU), one) for name, one in expected.items() if one is not None]
    if not known or known[0].device != first:
        return Modes([], f"no earlier run on {first}, where it runs without a choice")
    unknown = [name for name, one in expected.items() if one is None]
    return Modes(known, f"no earlier run on {listed(unknown)}" if unknown else None)


def expected_on(job: WorkflowJob, earlier: Sequence[EarlierRun], device: str) -> Expected | None:
    """Return what a job takes on a device; None where no earlier run tells.

    By runs of the job itself; else by those of its experiment and recipe with another seed; else, for each unit of
    work, by those of its recipe, if it is known how much work the job is.
    """
    ran = [run for run in earlier if run.rule == job.rule]
    there = [run for run in ran if run.device == device]
    kind = (job.wildcards.get("experiment"), job.wildcards.get("recipe"))
    own = [run for run in there if run.name == job.name]
    alike = [run for run in there if run.experiment_and_recipe == kind]
    if found := own or alike:
        count = f"{len(found)} earlier run{'s' * (len(found) > 1)}"
        return of_runs(found, f"{count} on {device}" if own else f"{count} on {device}, with another seed")
    of_recipe = [run for run in there if run.experiment_and_recipe[1] == kind[1]]
    known = [run for run in ran if run.experiment_and_recipe == kind]
    for unit in UNITS:
        if of_recipe and known and all(run.work.get(unit) for run in (*of_recipe, *known)):
            work = sum(run.work[unit] for run in known) / len(known)
            scaled = [_scaled(run, work / run.work[unit]) for run in of_recipe]
            return of_runs(scaled, f"{unit} of {len(of_recipe)} runs of the recipe on {device}")
    return None


def _scaled(run: EarlierRun, factor: float) -> EarlierRun:
    return replace(run, duration_s=run.duration_s * factor, energy_J=run.energy_J * factor)
