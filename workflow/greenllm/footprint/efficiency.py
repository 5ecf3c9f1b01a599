"""Energy per unit of work: the index E = C/R of the source article, lower is better.

C is the energy used and R the work done with it. The article's own example: an energy of 100 over 1000 requests is an
index of 0.1, and 50 over the same requests 0.05.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A unit of work: `work` names its amount in an energy log, `size` is how many of these make one unit."""

    name: str
    work: str
    size: float


UNITS = (
    Unit("sample", "samples", 1),
    Unit("token", "tokens", 1),
    Unit("request", "requests", 1),
    Unit("1e8_flops", "flops", 1e8),
)


def efficiency_index(energy: float, work: float | None) -> float | None:
    """Return E = C/R: `energy` (any unit of energy) over `work` done; None where no work of the kind was done."""
    return energy / work if work else None


def units_of_work(work: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the number of units of each kind in a job's `work`; None, never 0, where it did none of the kind."""
    return {unit.name: (amount / unit.size if (amount := work.get(unit.work)) else None) for unit in UNITS}
