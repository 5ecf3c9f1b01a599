"""The energy that several attempts spent together."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from greenllm.attribution.jobs import JobEnergy
from greenllm.estimate import Estimate, total
from greenllm.ledger.energy_log import SUMMED

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Spending:
    """The sum of attempts' own energies. `jobs` names each attempt once, and so each meter inside it."""

    jobs: Sequence[JobEnergy]

    @property
    def known(self) -> Estimate:
        """The energy of the attempts whose energy is known (J)."""
        return total(job.energy for job in self.jobs if job.energy is not None)

    @property
    def unknown(self) -> list[str]:
        """One line for each attempt whose energy is unknown, with the reason."""
        return [f"{job.id}: {_why(job)}" for job in self.jobs if job.energy is None]

    @property
    def energy(self) -> Estimate | None:
        """The energy of all attempts (J); None where one's is unknown."""
        return None if self.unknown else self.known

    @property
    def partial(self) -> bool:
        """Whether a component of one of them could not be read."""
        return any(job.partial for job in self.jobs)

    def to_json(self) -> dict[str, Any]:
        """Return `{energy_J, known_J, partial, unknown}`."""
        energy = self.energy
        return {
            "energy_J": None if energy is None else energy.to_json(),
            "known_J": self.known.to_json(),
            "partial": self.partial,
            "unknown": self.unknown,
        }


def _why(job: JobEnergy) -> str:
    reasons = {f"{c.component}: {c.reason}": None for c in job.components if c.component in SUMMED}
    return "its energy is unknown" + (f" ({'; '.join(reasons)})" if reasons else "")


def spending_by(jobs: Iterable[JobEnergy], key: Callable[[JobEnergy], Key]) -> dict[Key, Spending]:
    """Return {key of a job: what the jobs with that key spent}, in the order in which the keys first occur."""
    groups: dict[Key, list[JobEnergy]] = {}
    for job in jobs:
        groups.setdefault(key(job), []).append(job)
    return {name: Spending(members) for name, members in groups.items()}
