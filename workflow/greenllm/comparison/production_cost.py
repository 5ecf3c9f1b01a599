"""What a model cost to produce: the energy of each job in its chain, each ancestor's once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.comparison.rows import ProducingStep
from greenllm.estimate import Estimate, interval_of, total_known
from greenllm.footprint.standing import JobAttempt, current_of
from greenllm.ledger.records import device_of
from greenllm.study.chain import ChainJob, chain_jobs
from greenllm.study.results import Key, Study

ELSEWHERE = "the training of the model it started from was done elsewhere"


@dataclass(frozen=True)
class ProductionCost:
    """The energy of the jobs that made a model (None if all is unknown); `missing` says what is not counted.

    `devices` are those on which the jobs that had asked for a GPU ran.
    """

    energy: Estimate | None
    steps: list[ProducingStep]
    missing: list[str]
    devices: frozenset[str] = frozenset()

    @property
    def here(self) -> Estimate | None:
        """The energy of the jobs done here; None if that of any is unknown."""
        return None if set(self.missing) - {ELSEWHERE} else self.energy

    def placed_apart(self, other: "ProductionCost") -> list[str]:
        """Return the devices on which a plan has put the jobs of both, if these differ; otherwise none.

        Then the difference of the energies is that of the devices as well, not of the recipes alone.
        """
        chosen = any(step.device is not None for step in (*self.steps, *other.steps))
        devices = self.devices | other.devices
        return sorted(devices) if chosen and len(devices) > 1 else []


def production_cost(key: Key, study: Study, tried: Mapping[ChainJob, Sequence[JobAttempt]]) -> ProductionCost:
    """Return what a model cost; `tried` has all attempts at each job."""
    experiment, recipe, seed = key
    steps: list[ProducingStep] = []
    missing: list[str] = []
    energies: list[Estimate | None] = []
    devices: set[str] = set()
    for job in chain_jobs(study.plan, experiment, recipe, seed):
        name = " ".join(part for part in (job.rule, job.recipe) if part)
        if (last := current_of(tried.get(job, ()))) is None:
            missing.append(f"{name}: no attempt in the ledgers succeeded")
            continue
        chosen = [*_resumed_from(last, job, study, tried[job]), last]
        parts = [part for attempt in chosen for part in attempt.on_all_hosts]
        energy = total_known(part.energy for part in parts)
        if energy is None:
            missing.append(f"{name}: {'; '.join(last.unknown) or 'no energy known'}")
        elif incomparable := [reason for attempt in chosen if (reason := attempt.incomparable)]:
            missing.append(f"{name}: {'; '.join(incomparable)}")
        energies.append(energy)
        ids = [part.id for part in parts]
        starts = [part.attempt.start for part in parts]
        planned = next((start.planned_device for start in starts if start.planned_device), None)
        devices |= {device_of(start.gpus) or "several" for start in starts if start.gpus_requested}
        steps.append(
            ProducingStep(rule=job.rule, recipe=job.recipe, ids=ids, energy_J=interval_of(energy), device=planned)
        )
    if study.plan.starts_from_source(experiment):
        missing.append(ELSEWHERE)
    return ProductionCost(total_known(energies), steps, missing, frozenset(devices))


def _resumed_from(last: JobAttempt, job: ChainJob, study: Study, tried: Sequence[JobAttempt]) -> list[JobAttempt]:
    """Return the attempts since the last success that did not reach the end, if a training resumed from one of them."""
    if job.rule not in ("train", "compress") or job.recipe is None or job.seed is None:
        return []
    training = study.trainings.get((job.experiment, job.recipe, job.seed))
    if training is None or training.resumed_from_step is None:
        return []
    before = [attempt for attempt in tried if attempt.started < last.started]
    successes = [index for index, attempt in enumerate(before) if attempt.status == "succeeded"]
    since = before[successes[-1] + 1 if successes else 0 :]
    return [attempt for attempt in since if attempt.standing in (*UNSUCCESSFUL, "paused")]
