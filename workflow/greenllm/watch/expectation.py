"""What jobs that have not ended will take, by earlier jobs of the same kind: joules and seconds, with intervals."""

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from greenllm.estimate import Interval, PartialInterval
from greenllm.ledger.run_file import PlannedJob
from greenllm.statistics import halfwidth


class EarlierJob(NamedTuple):
    """What one earlier job took: energy (J, None if it is unknown) and time (s)."""

    job: PlannedJob
    energy: Interval | None
    duration_s: float


class Remaining(NamedTuple):
    """What jobs will take in sum; `unknown`: the number of jobs, by rule, of which no earlier job says anything."""

    known: PartialInterval | None
    unknown: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return `{value, low, high, unknown}`."""
        known = self.known or PartialInterval(0.0, None, None)
        return {**(known.to_json() if self.known else dict.fromkeys(known.to_json())), "unknown": dict(self.unknown)}


# Jobs of a kind have a rule and these wildcards in common; the kind of `None` has all.
KINDS = (None, ("experiment", "recipe"), ("experiment",), ())


def kinds(job: PlannedJob) -> list[PlannedJob]:
    """Return the kinds of a job, the narrowest first: the job itself, its recipe's, its experiment's, its rule's."""
    return [
        job if names is None else PlannedJob(job.rule, tuple(one for one in job.wildcards if one[0] in names))
        for names in KINDS
    ]


@dataclass(frozen=True)
class Earlier:
    """What earlier jobs took, by kind."""

    by_kind: Mapping[PlannedJob, Sequence[EarlierJob]]

    @classmethod
    def of(cls, spent: Iterable[EarlierJob]) -> "Earlier":
        """Sort what earlier jobs took by their kinds."""
        by_kind: dict[PlannedJob, list[EarlierJob]] = {}
        for one in spent:
            for kind in dict.fromkeys(kinds(one.job)):
                by_kind.setdefault(kind, []).append(one)
        return cls(by_kind)

    def energy(self, jobs: Iterable[tuple[PlannedJob, float]]) -> Remaining:
        """Return the energy (J) that jobs will still take; each comes with what it took so far (J)."""
        return _sum(jobs, self._energies)

    def time(self, jobs: Iterable[tuple[PlannedJob, float]]) -> Remaining:
        """Return the time (s) that jobs will still take one after another; each comes with what it took so far (s)."""
        return _sum(jobs, self._times)

    def longest_s(self, jobs: Iterable[tuple[PlannedJob, float]]) -> float:
        """Return the longest of the times (s) that the jobs will still take, of those that are known."""
        known = ((_narrowest(job, self._times), taken_s) for job, taken_s in jobs)
        return max((self._times[kind].left(taken_s) for kind, taken_s in known if kind is not None), default=0.0)

    @functools.cached_property
    def _energies(self) -> "Mapping[PlannedJob, _Typical]":
        known = {kind: [one.energy for one in spent if one.energy is not None] for kind, spent in self.by_kind.items()}
        return {kind: _Typical.of(energies) for kind, energies in known.items() if energies}

    @functools.cached_property
    def _times(self) -> "Mapping[PlannedJob, _Typical]":
        return {
            kind: _Typical.of([Interval(*[one.duration_s] * 3) for one in spent])
            for kind, spent in self.by_kind.items()
        }


@dataclass(frozen=True)
class _Typical:
    """What the `number` earlier jobs of a kind took: the means of values and bounds, and the mean's half-width."""

    mean: Interval
    number: int
    half: float

    @classmethod
    def of(cls, earlier: Sequence[Interval]) -> "_Typical":
        values = [one.value for one in earlier]
        mean = Interval(_mean(values), _mean([one.low for one in earlier]), _mean([one.high for one in earlier]))
        return cls(mean, len(values), halfwidth(values))

    def left(self, taken: float) -> float:
        """Return what a job will still take that took this so far."""
        return self.mean.value - min(taken, self.mean.value)


def _narrowest(job: PlannedJob, known: Mapping[PlannedJob, _Typical]) -> PlannedJob | None:
    """Return the narrowest kind of a job of which an earlier job is known."""
    return next((kind for kind in kinds(job) if kind in known), None)


def _sum(jobs: Iterable[tuple[PlannedJob, float]], known: Mapping[PlannedJob, _Typical]) -> Remaining:
    """Return what jobs will still take: the mean of the narrowest kind of which an earlier job is known, for each.

    The bounds are those of a prediction: of m jobs of a kind with n earlier ones, the variance is s²·(m + m²/n), and
    their errors are Student's (Hahn and Meeker, Statistical Intervals, 4.6). The sensors' own errors are common to all
    jobs. A kind with a single earlier job does not say how much jobs differ, so that there are no bounds.
    """
    numbers: Counter[PlannedJob] = Counter()
    unknown: Counter[str] = Counter()
    value = below = above = variance = 0.0
    for job, taken in jobs:
        if (kind := _narrowest(job, known)) is None:
            unknown[job.rule] += 1
            continue
        numbers[kind] += 1
        value += known[kind].left(taken)
    if not numbers:
        return Remaining(None if unknown else PartialInterval(0.0, 0.0, 0.0), unknown)
    for kind, m in numbers.items():
        own, n = known[kind], known[kind].number
        below += m * (own.mean.value - own.mean.low)
        above += m * (own.mean.high - own.mean.value)
        variance += own.half * own.half * n * (m + m * m / n)  # half is that of the mean of n: t·s/√n
    if math.isinf(variance):
        return Remaining(PartialInterval(value, None, None), unknown)
    deviation = math.sqrt(variance)
    low, high = value - math.hypot(deviation, below), value + math.hypot(deviation, above)
    return Remaining(PartialInterval(value, max(0.0, low), high), unknown)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
