"""Energy per unit of work: the index E = C/R of the source article, lower is better.

C is the energy used and R the work done with it. In the article's example, an energy of 100 over 1000 requests is an
index of 0.1, and 50 over the same requests is 0.05.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from greenllm.account.document import EfficiencyRow
from greenllm.comparison.model import ModelFacts, over_rounds
from greenllm.estimate import Estimate, Interval, interval_of
from greenllm.footprint.standing import JobAttempt, known_of, method_of, quality_of


@dataclass(frozen=True)
class Unit:
    """A unit of work: `size` of what an energy log counts under the name `work`."""

    name: str
    work: str
    size: float


UNITS = (
    Unit("sample", "samples", 1),
    Unit("token", "tokens", 1),
    Unit("request", "requests", 1),
    Unit("1e8_flops", "flops", 1e8),
)


def efficiency_index(energy_J: Interval | None, work: float | None) -> Interval | None:
    """Return E = C/R of an energy; None if the energy is unknown or no such work was done."""
    return Interval(*(joules / work for joules in energy_J)) if energy_J and work else None


def units_of_work(work: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the number of units of each kind in a job's `work`; None, not 0, if it did no work of a kind."""
    return {unit.name: (amount / unit.size if (amount := work.get(unit.work)) else None) for unit in UNITS}


def efficiency_rows(found: Sequence[JobAttempt], models: Iterable[ModelFacts]) -> list[EfficiencyRow]:
    """Return the rows of the table `efficiency`: E = C/R of each stage, and of the server while it was measured."""
    rows = [
        _row(attempt, "whole stage", attempt.energy_on_all_hosts, units_of_work(attempt.work))
        for attempt in found
        # Servers and probes reserve nothing: the job around them does, and a server's rounds have a row of their own.
        if attempt.standing == "current"
        and attempt.experiment is not None
        and attempt.rule not in ("serve", "probe")
        and not attempt.is_part
    ]
    for model in models:
        if model.serving is None or model.serving.server is None:
            continue
        point = model.serving.compared
        units = units_of_work({"requests": point.written.answered, "tokens": point.written.completion_tokens})
        row = _row(model.serving.server, "server, measurement window", point.energy, units)
        with_spread = {"J_per_request": over_rounds(point.per_request), "J_per_token": over_rounds(point.per_token)}
        serving = model.serving
        how = {"method": serving.method, "quality": serving.quality, "unknown": serving.reason or row.unknown}
        rows.append(row.model_copy(update={**with_spread, **how}))
    return rows


def _row(attempt: JobAttempt, scope: str, energy: Estimate | None, units: Mapping[str, float | None]) -> EfficiencyRow:
    energy_J = interval_of(energy)
    known = [part for one in attempt.on_all_hosts for part in known_of(one.components)]
    unknown = [reason for one in attempt.on_all_hosts for reason in one.unknown]
    unused = any(one.unused for one in attempt.on_all_hosts)
    comparable_J = None if attempt.incomparable else energy_J
    indices = {name: efficiency_index(comparable_J, amount) for name, amount in units.items()}
    return EfficiencyRow(
        experiment=attempt.experiment or "none",
        recipe=attempt.recipe,
        seed=attempt.seed,
        stage=attempt.rule,
        scope=scope,
        energy_J=energy_J,
        **{f"work_{name}": amount for name, amount in units.items()},
        **{f"J_per_{name}": index for name, index in indices.items()},
        method=method_of(known),
        quality=quality_of(known),
        unknown=(attempt.incomparable if unused else "; ".join(unknown)) or None,
    )
