"""The cost of making each artefact: the attempt that made it and all its ancestors, each once."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.jobs import JobEnergy
from greenllm.attribution.lineage import Lineage
from greenllm.attribution.spending import Spending
from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.estimate import Estimate


@dataclass(frozen=True)
class Production:
    """How an attempt's outputs were made.

    `lineage` is the attempt and its ancestors in order of time, `cost` what they and the meters inside them spent,
    each once. `waste` is not part of it: failed meters inside them, and earlier wasted attempts at the same jobs.
    `sources` are inputs from outside. `unknown` says which ancestors are unknown, and why.
    """

    lineage: Sequence[JobEnergy]
    cost: Spending
    waste: Spending
    sources: Sequence[str]
    unknown: Sequence[str]


@dataclass(frozen=True)
class Artefact:
    """A file or folder, as the last attempt that made it left it."""

    path: str
    fingerprint: Any
    maker: JobEnergy
    production: Production

    @property
    def unknown(self) -> list[str]:
        """Why the cost to produce it is unknown, a line for each reason; empty where it is known."""
        missing = [] if self.fingerprint is not None else [f"{self.path}: missing, unreadable or no file when made"]
        return [*missing, *self.production.unknown, *self.production.cost.unknown]

    @property
    def energy(self) -> Estimate | None:
        """The cost to produce it (J); None where an ancestor is unknown, or its energy is."""
        return None if self.unknown else self.production.cost.known

    def to_json(self) -> dict[str, Any]:
        """Return the artefact as `greenllm attribute --json` prints it."""
        energy, production = self.energy, self.production
        return {
            "path": self.path,
            "fingerprint": self.fingerprint,
            "made_by": self.maker.id,
            "lineage": [job.id for job in production.lineage],
            **production.cost.to_json(),
            "energy_J": None if energy is None else energy.to_json(),
            "unknown": self.unknown,
            "sources": list(production.sources),
            "waste": {"attempts": [job.id for job in production.waste.jobs], **production.waste.to_json()},
        }


def artefacts_of(lineage: Lineage, jobs: Mapping[str, JobEnergy]) -> list[Artefact]:
    """Return what the attempts made, by path, with what it cost. `jobs` maps an attempt's id to its energy."""
    wasted: dict[Hashable, list[Attempt]] = {}
    for attempt in lineage.in_order:
        if jobs[attempt.id].waste:
            wasted.setdefault(_task(attempt), []).append(attempt)
    productions: dict[str, Production] = {}
    made = []
    for path, maker in lineage.artefacts():
        if maker.id not in productions:
            productions[maker.id] = _production(maker, lineage, jobs, wasted)
        fingerprint = (lineage.outputs(maker) or {})[path]
        made.append(Artefact(path, fingerprint, jobs[maker.id], productions[maker.id]))
    return made


def _production(
    maker: Attempt, lineage: Lineage, jobs: Mapping[str, JobEnergy], wasted_before: Mapping[Hashable, Sequence[Attempt]]
) -> Production:
    ancestors, unknown, sources = lineage.ancestry(maker)
    inside = [inner.id for one in ancestors for inner in lineage.inside(one)]
    failed = [inner for inner in inside if jobs[inner].waste in UNSUCCESSFUL]
    counted = dict.fromkeys([*(one.id for one in ancestors), *(inner for inner in inside if inner not in failed)])
    earlier = [
        part.id
        for one in ancestors
        for attempt in wasted_before.get(_task(one), ())
        if lineage.began_before_the_end_of(attempt, one)
        for part in (attempt, *lineage.inside(attempt))
    ]
    wasted = dict.fromkeys(job_id for job_id in (*failed, *earlier) if job_id not in counted)
    return Production(
        [jobs[one.id] for one in ancestors],
        Spending([jobs[job_id] for job_id in counted]),
        Spending([jobs[job_id] for job_id in wasted]),
        sources,
        unknown,
    )


def _task(attempt: Attempt) -> Hashable:
    """Return what an attempt was to do: its rule and wildcards, else its command. A lost one names no outputs."""
    job = attempt.start.job
    if job.rule:
        return job.rule, *sorted(job.wildcards.items())
    return tuple(attempt.start.command or [attempt.id])
