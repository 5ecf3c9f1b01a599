"""Energy per unit of work: the index E = C/R of the source article, lower is better.

C is the energy used and R the work done with it. The article's own example: an energy of 100 over 1000 requests is an
index of 0.1, and 50 over the same requests 0.05.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.comparison.intervals import energy_of
from greenllm.estimate import Estimate
from greenllm.footprint.standing import Attempt
from greenllm.study.results import Key


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


def index_of(energy_J: Mapping[str, float] | None, work: float | None) -> dict[str, float] | None:
    """Return E = C/R of an energy {value, low, high}, None where the energy is unknown or no such work was done."""
    if energy_J is None:
        return None
    indices = {bound: efficiency_index(value, work) for bound, value in energy_J.items()}
    return {bound: index for bound, index in indices.items() if index is not None} or None


def units_of_work(work: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the number of units of each kind in a job's `work`; None, never 0, where it did none of the kind."""
    return {unit.name: (amount / unit.size if (amount := work.get(unit.work)) else None) for unit in UNITS}


def efficiency_rows(found: Sequence[Attempt], models: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table `efficiency`: E = C/R of each stage, and of the server while it was measured."""
    rows = []
    for attempt in found:
        if attempt.standing != "current" or attempt.experiment is None:
            continue
        units = units_of_work(attempt.work)
        rows.append(_efficiency_row(attempt, "whole stage", attempt.energy_J, units))
    for model in models.values():
        if (serving := model["_serving"]) is None or serving.server is None:
            continue
        point = serving.compared
        units = units_of_work({"requests": point.written["answered"], "tokens": point.written["completion_tokens"]})
        row = _efficiency_row(serving.server, "server, measurement window", point.energy, units)
        spread_too = {f"J_per_{unit}": model["serving"][f"energy_per_{unit}_J"] for unit in ("request", "token")}
        rows.append(row | spread_too)
    return rows


def _efficiency_row(
    attempt: Attempt, scope: str, energy: Estimate | None, units: Mapping[str, float | None]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "experiment": attempt.experiment,
        "recipe": attempt.recipe,
        "seed": attempt.seed,
        "stage": attempt.rule,
        "scope": scope,
        "energy_J": energy_of(energy),
    }
    for unit in UNITS:
        amount = units[unit.name]
        row[f"work_{unit.name}"] = amount
        row[f"J_per_{unit.name}"] = None if attempt.unused else index_of(row["energy_J"], amount)
    why = attempt.incomparable if attempt.unused else "; ".join(attempt.unknown)
    return {**row, "method": attempt.method, "quality": attempt.quality, "unknown": why or None}
