"""Each attempt at a job of a study: whether its result is in use, and the joules that it took."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenllm.attribution.jobs import JobEnergy
from greenllm.ledger.energy_log import SUMMED, Component
from greenllm.ledger.records import PART
from greenllm.study.chain import ChainJob


@dataclass(frozen=True)
class JobAttempt(JobEnergy):
    """One attempt at a job of the study.

    `standing` is "current" (its result is in use), "paused" (a later attempt went on from it), "running", one of
    attribution's `WASTE`, or "earlier" (made with settings that have changed since: no waste, but not what the study
    now shows).
    """

    standing: str = "current"

    @property
    def run_id(self) -> str:
        """The invocation of the workflow, or of the meter alone."""
        return super().run_id or "(none)"

    @property
    def rule(self) -> str:
        """The workflow's rule, for each part of a job on several hosts."""
        return (super().rule or "(no rule)").removesuffix(PART)

    @property
    def is_part(self) -> bool:
        """Whether it is the part of a job on a further host, by a meter of its own."""
        return (super().rule or "").endswith(PART)

    @property
    def number(self) -> int:
        """Which attempt at its job it is, from 1."""
        return super().number or 1

    @property
    def experiment(self) -> str | None:
        """The experiment that it belongs to; None where it serves the whole study."""
        return self.wildcards.get("experiment")

    @property
    def recipe(self) -> str | None:
        """The recipe that it belongs to; None where it serves all recipes."""
        return self.wildcards.get("recipe")

    @property
    def seed(self) -> int | None:
        """The seed of the model that it belongs to; None where it serves several."""
        seed = self.wildcards.get("seed")
        return None if seed is None else int(seed)

    @property
    def chain_job(self) -> ChainJob | None:
        """The job in the making of a model that this is an attempt at; None outside experiments, and for a part."""
        if self.experiment is None or self.is_part:
            return None
        return ChainJob(self.rule, self.experiment, self.recipe, self.seed)

    @property
    def known(self) -> list[Component]:
        """The components that its energy is the sum of."""
        return known_of(self.components)

    @property
    def quality(self) -> str | None:
        """How its energy was found: "measured", "modelled", or "partly modelled"; None if nothing is known."""
        return quality_of(self.known)

    @property
    def incomparable(self) -> str | None:
        """Why its energy can't be compared with others'; None if it can.

        Without the CPU's or a GPU's energy the total is too low, most of all for jobs that use that device. With the
        energy of a GPU that was never used, it is too high compared with jobs that leased no GPU.
        """
        hosts = self.on_all_hosts
        reasons = [reason for one in hosts for reason in one.unknown if reason.startswith(("cpu:", "gpu:"))]
        reasons += [f"gpu: {gpu} was leased, but never used" for one in hosts for gpu in one.unused]
        return "; ".join(reasons) or None

    @property
    def method(self) -> str:
        """How each component's energy was found, such as "cpu: rapl (measured); dram: dram-model (modelled)"."""
        return method_of(self.known)


def known_of(components: Sequence[Component]) -> list[Component]:
    """Return the components that an energy is the sum of."""
    return [part for part in components if part.component in SUMMED and part.energy is not None]


def quality_of(parts: Sequence[Component]) -> str | None:
    """Return how an energy was found: "measured", "modelled", or "partly modelled"; None without components."""
    found = {part.quality for part in parts}
    return "partly modelled" if len(found) > 1 else next(iter(found), None)


def method_of(parts: Sequence[Component]) -> str:
    """Return how each component's energy was found, such as "cpu: rapl (measured); dram: dram-model (modelled)"."""
    return "; ".join(dict.fromkeys(f"{part.component}: {part.method} ({part.quality})" for part in parts))


def attempts(jobs: Sequence[JobEnergy]) -> list[JobAttempt]:
    """Return all attempts of an attribution (`Attribution.jobs`), in its order: by their start."""
    last = {_key(job): job for job in jobs if job.status == "succeeded"}
    by_id = {job.id: job for job in jobs}

    def standing(job: JobEnergy) -> str:
        """Return an attempt's standing; "current" is the last successful attempt at a job, unless it was wasted.

        Those beside it inside one attempt are current as well, such as the visits of a server. What ran inside an
        earlier attempt is earlier, also if nothing did the same again, as where a recipe was left out since.

        "Last" means last in the attribution's order, since a wall clock may have been set back.
        """
        if job.waste or job.status != "succeeded":
            return job.waste or job.status
        newest = last[_key(job)]
        around = None if job.parent is None else by_id.get(job.parent)
        if around is not None and standing(around) == "earlier":
            return "earlier"
        beside = job.parent is not None and job.parent == newest.parent
        return "current" if beside or newest.id == job.id else "earlier"

    return [JobAttempt(job.attempt, job.components, job.waste, job.children, standing(job)) for job in jobs]


def by_chain_job(found: Iterable[JobAttempt]) -> dict[ChainJob, list[JobAttempt]]:
    """Return the attempts at each job in the making of a model, in the order in which they are given."""
    tried: dict[ChainJob, list[JobAttempt]] = {}
    for attempt in found:
        if (job := attempt.chain_job) is not None:
            tried.setdefault(job, []).append(attempt)
    return tried


def current_of(tried: Sequence[JobAttempt]) -> JobAttempt | None:
    """Return the attempt at a job whose result is in use; None if there is none."""
    return next((attempt for attempt in reversed(tried) if attempt.standing == "current"), None)


def _key(job: JobEnergy) -> tuple[object, ...]:
    """Return what attempts at the same job have in common."""
    return (job.rule, *sorted((name, str(value)) for name, value in job.wildcards.items()))
