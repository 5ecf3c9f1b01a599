"""The embodied carbon of what jobs reserve: device seconds by kind of equipment, and grams for each of them.

The share of a host's processors and of its server is that of the processors reserved, a GPU is reserved as a whole, of
memory the gigabytes count. Disks are left out: nobody reserves them, and their size is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import Equipment

B_PER_GB = 1e9
PROCESSOR, SERVER, MEMORY, GPU = "processor", "server", "memory", "gpu"
Reserved = Mapping[str, float]  # name of the equipment → device seconds; of memory GB·s


@dataclass(frozen=True)
class Machine:
    """A host: its processors as its kernel counts them, in how many packages they are, and its memory."""

    cpus: int
    packages: int
    memory_GB: float | None


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What was reserved on a machine, and for how long; `gpus` are their models, None where that is unknown.

    `memory_GB` is None where the job did not say: then its share of the memory is that of the processors.
    """

    machine: Machine
    cpus: float
    memory_GB: float | None
    gpus: Sequence[str | None]
    duration_s: float

    def by_equipment(self, equipment: Sequence[Equipment]) -> tuple[Reserved, list[str]]:
        """Return the device seconds by name of the equipment, and why a part of them is unknown."""
        share = min(1.0, self.cpus / self.machine.cpus)
        memory_GB = self.memory_GB if self.memory_GB is not None else (self.machine.memory_GB or 0.0) * share
        amounts: dict[str, float] = {}
        unknown: list[str] = []
        parts: list[tuple[str, str | None, float]] = [
            (PROCESSOR, None, share * self.machine.packages),
            (SERVER, None, share),
            (MEMORY, None, memory_GB),
            *((GPU, model, 1.0) for model in self.gpus),
        ]
        if self.machine.memory_GB is None and self.memory_GB is None:
            unknown.append("embodied carbon: the host's memory is unknown")
        for kind, model, amount in parts:
            found = _matching(kind, model, equipment)
            if found is None or found.embodied is None or found.life is None:
                what = "embodied carbon" if found is None or found.embodied is None else "life"
                unknown.append(f"embodied carbon: the {what} of {model or kind} is unknown")
                continue
            amounts[found.name] = amounts.get(found.name, 0.0) + amount * self.duration_s
        return amounts, list(dict.fromkeys(unknown))


def _matching(kind: str, model: str | None, equipment: Sequence[Equipment]) -> Equipment | None:
    """Return the equipment of a kind, a GPU by its model; the only one of its kind where the model is unknown."""
    own = [one for one in equipment if one.kind == kind]
    named = [one for one in own if one.name == model]
    if named or kind != GPU:
        return next(iter(named or own), None)
    return own[0] if model is None and len(own) == 1 else None


def factors_of(equipment: Sequence[Equipment]) -> list[Factor]:
    """Return all factors of equipment."""
    return [factor for one in equipment for factor in (one.embodied, one.life) if factor is not None]
