"""Each attempt at a job: whether its result is in use, and the joules that it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.attribution.jobs import JobEnergy
from greenllm.estimate import Estimate
from greenllm.ledger.component import SUMMED, Component
from greenllm.study.chain import ChainJob


@dataclass(frozen=True)
class JobAttempt:
    """One attempt at a job of the study.

    `standing` is "current" (its result is in use), "running", one of attribution's `WASTE`, or "earlier" (made with
    settings that have changed since: no waste, but not what the study now shows).

    `energy_J` is None where no component of the host could be measured or modelled.
    """

    id: str
    parent: str | None
    run_id: str
    host: str
    rule: str
    experiment: str | None
    recipe: str | None
    seed: int | None
    number: int
    status: str
    standing: str
    started: str
    ended: str | None
    exit_code: int | None
    work: Mapping[str, float | None]
    energy_J: Estimate | None
    components: Sequence[Component]

    @property
    def chain_job(self) -> ChainJob | None:
        """The job in the making of a model that this is an attempt at; None outside experiments."""
        return None if self.experiment is None else ChainJob(self.rule, self.experiment, self.recipe, self.seed)

    @property
    def known(self) -> list[Component]:
        """The components that its energy is the sum of."""
        return [part for part in self.components if part.component in SUMMED and part.energy is not None]

    @property
    def unknown(self) -> list[str]:
        """One "component: reason" for each component without an energy.

        A sensor that could not be read is left out where another method took its place.
        """
        known = {part.component for part in self.known}
        return [
            f"{part.component}: {part.reason}"
            for part in self.components
            if part.component in SUMMED
            and part.energy is None
            and (part.component == "gpu" or part.component not in known)
        ]

    @property
    def unused(self) -> list[str]:
        """The GPUs that it held and never used.

        Their energy was spent, but not on its work, so no ratio is computed from it.
        """
        return [part.device for part in self.components if part.used is False]

    @property
    def quality(self) -> str | None:
        """How its energy was found: "measured", "modelled", or "partly modelled"; None where nothing is known."""
        found = {part.quality for part in self.known}
        return "partly modelled" if len(found) > 1 else next(iter(found), None)

    @property
    def incomparable(self) -> str | None:
        """Why its energy may not be compared; None where it may.

        Without the CPU's or a GPU's energy the total is too low, most of all for jobs that use that device. With the
        energy of a GPU that was never used, it is too high beside jobs that leased none.
        """
        reasons = [part for part in self.unknown if part.startswith(("cpu:", "gpu:"))]
        reasons += [f"gpu: {gpu} was leased, but never used" for gpu in self.unused]
        return "; ".join(reasons) or None

    @property
    def method(self) -> str:
        """How each component's energy was found, such as "cpu: rapl (measured); dram: dram-model (modelled)"."""
        return "; ".join(dict.fromkeys(f"{part.component}: {part.method} ({part.quality})" for part in self.known))


def attempts(jobs: Sequence[JobEnergy]) -> list[JobAttempt]:
    """Return all attempts of an attribution (`Attribution.jobs`), in its order: by their start."""
    last = {_key(job): job.id for job in jobs if job.status == "succeeded"}

    def standing(job: JobEnergy) -> str:
        """Return an attempt's standing; of the successful attempts at one job that are no waste the last is current.

        The last is the last in the attribution's order, since a wall clock may have been set back.
        """
        if job.waste or job.status != "succeeded":
            return job.waste or job.status
        return "current" if last[_key(job)] == job.id else "earlier"

    return [_attempt(job, standing(job)) for job in jobs]


def _key(job: JobEnergy) -> tuple[object, ...]:
    """Return what attempts at the same job have in common."""
    return (job.rule, *sorted((name, str(value)) for name, value in job.wildcards.items()))


def _attempt(job: JobEnergy, standing: str) -> JobAttempt:
    seed = job.wildcards.get("seed")
    return JobAttempt(
        id=job.id,
        parent=job.attempt.parent,
        run_id=job.run_id or "(none)",
        host=job.host,
        rule=job.rule or "(no rule)",
        experiment=job.wildcards.get("experiment"),
        recipe=job.wildcards.get("recipe"),
        seed=None if seed is None else int(seed),
        number=job.number or 1,
        status=job.status,
        standing=standing,
        started=job.started,
        ended=job.ended,
        exit_code=job.exit_code,
        work=job.work or {},
        energy_J=job.energy,
        components=job.components,
    )
