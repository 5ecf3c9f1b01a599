"""What a model cost to produce: the energy of each job in its chain, each ancestor's once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.estimate import Estimate, total_known
from greenllm.footprint.standing import JobAttempt
from greenllm.study.chain import ChainJob, chain_jobs
from greenllm.study.results import Key, Study

ELSEWHERE = "the training of the model it started from was done elsewhere"


@dataclass(frozen=True)
class ChainJobCost:
    """The energy of one job of the chain, with that of the attempts that its result depends on."""

    job: ChainJob
    attempts: Sequence[JobAttempt]

    @property
    def energy(self) -> Estimate | None:
        """The energy of its attempts, in J; None where none is known."""
        return total_known(attempt.energy_J for attempt in self.attempts)


@dataclass(frozen=True)
class ProductionCost:
    """The jobs that made a model; `missing` says what is not counted, and why."""

    jobs: Sequence[ChainJobCost]
    missing: Sequence[str]

    @property
    def energy(self) -> Estimate | None:
        """The energy of all jobs, in J, as far as known; None where none is."""
        return total_known(job.energy for job in self.jobs)

    @property
    def here(self) -> Estimate | None:
        """The energy of the jobs done here, in J; None where that of one is not known."""
        return None if set(self.missing) - {ELSEWHERE} else self.energy


def production_cost(
    key: Key, study: Study, found: Sequence[JobAttempt], current: Mapping[ChainJob, JobAttempt]
) -> ProductionCost:
    """Return what a model cost; `current` has the attempt whose result is in use for each job."""
    experiment, recipe, seed = key
    costs: list[ChainJobCost] = []
    missing: list[str] = []
    for job in chain_jobs(study.plan, experiment, recipe, seed):
        name = " ".join(part for part in (job.rule, job.recipe) if part)
        if (last := current.get(job)) is None:
            missing.append(f"{name}: no attempt in the ledgers succeeded")
            continue
        cost = ChainJobCost(job, [*_resumed_from(last, job, study, found), last])
        if cost.energy is None:
            missing.append(f"{name}: {'; '.join(last.unknown) or 'no energy known'}")
        elif unused := [attempt for attempt in cost.attempts if attempt.unused]:
            missing.append(f"{name}: {'; '.join(attempt.incomparable or '' for attempt in unused)}")
        costs.append(cost)
    if study.plan.starts_from_source(experiment):
        missing.append(ELSEWHERE)
    return ProductionCost(costs, missing)


def _resumed_from(last: JobAttempt, job: ChainJob, study: Study, found: Sequence[JobAttempt]) -> list[JobAttempt]:
    """Return the attempts cut off since the last success, if a training resumed from a checkpoint of theirs."""
    if job.rule not in ("train", "compress") or job.recipe is None or job.seed is None:
        return []
    training = study.trainings.get((job.experiment, job.recipe, job.seed))
    if training is None or training.get("resumed_from_step") is None:
        return []
    before = [attempt for attempt in found if attempt.chain_job == job and attempt.started < last.started]
    successes = [index for index, attempt in enumerate(before) if attempt.status == "succeeded"]
    since = before[successes[-1] + 1 if successes else 0 :]
    return [attempt for attempt in since if attempt.standing in UNSUCCESSFUL]
