"""What was spent, each attempt counted once: in total, by run, by stage and by kind of waste; in joules and grams."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from greenllm.attribution.waste import WASTE
from greenllm.estimate import Estimate, Interval, interval_of, total_known
from greenllm.footprint.carbon import GridFactor, J_PER_kWh, carbon_g
from greenllm.footprint.rows import Impact, ImpactRow, RunSpent, Spent, StageSpent, StudySpent
from greenllm.footprint.standing import JobAttempt

GRID = ("low", "high", "place", "year", "outdated", "source", "licence")  # of the grid factor, in ImpactRow
Key = TypeVar("Key", bound=Hashable)


def impact_of(energy: Estimate | None, factor: GridFactor | None, pue: float | None) -> Impact:
    """Return an energy and its carbon, and those of the site (times PUE), which are None without a PUE."""
    energy_J = interval_of(energy)
    return Impact(
        energy_J=energy_J,
        carbon_g=carbon_g(energy_J, factor),
        carbon_site_g=None if pue is None else carbon_g(energy_J, factor, pue),
    )


def _grouped(found: Iterable[JobAttempt], key: Callable[[JobAttempt], Key]) -> dict[Key, list[JobAttempt]]:
    groups: dict[Key, list[JobAttempt]] = {}
    for attempt in found:
        groups.setdefault(key(attempt), []).append(attempt)
    return groups


def _energy(chosen: Iterable[JobAttempt]) -> Estimate | None:
    return total_known(attempt.energy for attempt in chosen)


def _unknown(chosen: Iterable[JobAttempt]) -> int:
    """Return the number of attempts whose energy, or a part of it, is unknown."""
    return sum(bool(one.unknown) or (one.energy is None and not one.awaits_readings) for one in chosen)


def _waste_J(chosen: Iterable[JobAttempt]) -> Interval | None:
    """Return the energy wasted: zero if nothing was wasted, None if something was but no part of it was measured."""
    wasted = [attempt for attempt in chosen if attempt.standing in WASTE]
    return interval_of(_energy(wasted) if wasted else Estimate())


def spent_by(found: Sequence[JobAttempt], factor: GridFactor | None, pue: float | None) -> StudySpent:
    """Return what all attempts spent: in total, by run of the workflow, by stage, by standing."""

    def spent(chosen: Iterable[JobAttempt]) -> Spent:
        chosen = list(chosen)
        impact = impact_of(_energy(chosen), factor, pue)
        return Spent(attempts=len(chosen), unknown=_unknown(chosen), **dict(impact), waste_J=_waste_J(chosen))

    return StudySpent(
        total=spent(found),
        runs=[
            RunSpent(
                run_id=run_id,
                started=min(attempt.started for attempt in members),
                ended=max(attempt.ended or attempt.started for attempt in members),
                hosts=sorted({attempt.host for attempt in members}),
                **dict(spent(members)),
            )
            for run_id, members in _grouped(found, lambda a: a.run_id).items()
        ],
        stages=[
            StageSpent(experiment=experiment, recipe=recipe, stage=rule, **dict(spent(members)))
            for (experiment, recipe, rule), members in _grouped(
                found, lambda a: (a.experiment, a.recipe, a.rule)
            ).items()
        ],
        waste={standing: spent(a for a in found if a.standing == standing) for standing in WASTE},
        running=spent(a for a in found if a.standing == "running"),
    )


def impact_rows(found: Sequence[JobAttempt], factor: GridFactor | None, pue: float | None) -> list[ImpactRow]:
    """Return the rows of the table `impact`: stages, then sums over recipes, experiments and the study.

    A stage that serves all recipes of an experiment has the recipe "shared", one outside experiments the experiment
    "none"; sums have "all".
    """

    def row(experiment: str, recipe: str, stage: str, chosen: Sequence[JobAttempt]) -> ImpactRow:
        impact = impact_of(_energy(chosen), factor, pue)
        energy = impact.energy_J
        return ImpactRow(
            experiment=experiment,
            recipe=recipe,
            stage=stage,
            attempts=len(chosen),
            unknown=_unknown(chosen),
            energy_J=energy,
            waste_J=_waste_J(chosen),
            energy_kWh=None if energy is None else Interval(*(joules / J_PER_kWh for joules in energy)),
            carbon_gCO2e=impact.carbon_g,
            pue=pue,
            carbon_site_gCO2e=impact.carbon_site_g,
            grid_gCO2e_per_kWh=factor and factor.value,
            **{f"grid_{name}": factor and getattr(factor, name) for name in GRID},
        )

    stages = _grouped(found, lambda a: (a.experiment, a.recipe, a.rule))
    recipes = _grouped((a for a in found if a.recipe is not None), lambda a: (a.experiment, a.recipe))
    experiments = _grouped(found, lambda a: a.experiment)
    return [
        *(row(name or "none", recipe or "shared", rule, own) for (name, recipe, rule), own in stages.items()),
        *(row(name or "none", recipe or "shared", "all", own) for (name, recipe), own in recipes.items()),
        *(row(name, "all", "all", own) for name, own in experiments.items() if name is not None),
        row("all", "all", "all", found),
    ]
