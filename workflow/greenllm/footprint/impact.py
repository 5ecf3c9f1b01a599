"""What was spent: every attempt once, in all, by run, by stage, by what became of it; in joules and grams."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from greenllm.attribution.waste import WASTE
from greenllm.comparison.intervals import energy_of
from greenllm.estimate import Estimate
from greenllm.footprint.carbon import GridFactor, J_PER_kWh, carbon_g
from greenllm.footprint.standing import Attempt, total
from greenllm.study.models import Config


def impact_of(estimate: Estimate | None, factor: GridFactor | None, config: Config) -> dict[str, Any]:
    """Return an energy and its carbon; the site's scope (times PUE) apart, and null where the PUE is not given."""
    energy, pue = energy_of(estimate), config.site.pue
    return {
        "energy_J": energy,
        "carbon_g": carbon_g(energy, factor),
        "carbon_site_g": None if pue is None else carbon_g(energy, factor, pue),
    }


def _grouped(found: Iterable[Attempt], *names: str) -> dict[tuple[Any, ...], list[Attempt]]:
    groups: dict[tuple[Any, ...], list[Attempt]] = defaultdict(list)
    for attempt in found:
        groups[tuple(getattr(attempt, name) for name in names)].append(attempt)
    return groups


def _waste(chosen: Iterable[Attempt]) -> Estimate | None:
    """Return the energy of what was in vain: zero where nothing was, None where of none of it the energy is known."""
    energies = [attempt.energy_J for attempt in chosen if attempt.standing in WASTE]
    return total(energies) if energies else Estimate()


def spent_by(found: Sequence[Attempt], factor: GridFactor | None, config: Config) -> dict[str, Any]:
    """Return what all attempts spent: in all, by run of the workflow, by stage, by standing."""

    def spent(chosen: Iterable[Attempt]) -> dict[str, Any]:
        chosen = list(chosen)
        return {
            "attempts": len(chosen),
            **impact_of(total(a.energy_J for a in chosen), factor, config),
            "waste_J": energy_of(_waste(chosen)),
        }

    return {
        "total": spent(found),
        "runs": [
            {
                "run_id": run_id,
                "started": min(attempt.started for attempt in members),
                "ended": max(attempt.ended or attempt.started for attempt in members),
                "hosts": sorted({attempt.host for attempt in members}),
                **spent(members),
            }
            for (run_id,), members in _grouped(found, "run_id").items()
        ],
        "stages": [
            {"experiment": experiment, "recipe": recipe, "stage": rule, **spent(members)}
            for (experiment, recipe, rule), members in _grouped(found, "experiment", "recipe", "rule").items()
        ],
        "waste": {standing: spent(a for a in found if a.standing == standing) for standing in WASTE},
        "running": spent(a for a in found if a.standing == "running"),
    }


def impact_rows(found: Sequence[Attempt], factor: GridFactor | None, config: Config) -> list[dict[str, Any]]:
    """Return the rows of the table `impact`: stages, then sums over recipes, experiments and the study.

    A stage that serves all recipes of an experiment has the recipe "shared", one outside experiments the experiment
    "none"; sums have "all".
    """

    def row(experiment: str, recipe: str, stage: str, chosen: Sequence[Attempt]) -> dict[str, Any]:
        impact = impact_of(total(a.energy_J for a in chosen), factor, config)
        energy = impact["energy_J"]
        return {
            "experiment": experiment,
            "recipe": recipe,
            "stage": stage,
            "attempts": len(chosen),
            "energy_J": impact["energy_J"],
            "waste_J": energy_of(_waste(chosen)),
            "energy_kWh": None if energy is None else {name: value / J_PER_kWh for name, value in energy.items()},
            "carbon_gCO2e": impact["carbon_g"],
            "pue": config.site.pue,
            "carbon_site_gCO2e": impact["carbon_site_g"],
            "grid_gCO2e_per_kWh": None if factor is None else factor.value,
            "grid_low": None if factor is None else factor.low,
            "grid_high": None if factor is None else factor.high,
            "grid_place": None if factor is None else factor.place,
            "grid_year": None if factor is None else factor.year,
            "grid_outdated": None if factor is None else factor.outdated,
            "grid_source": None if factor is None else factor.source,
            "grid_licence": None if factor is None else factor.licence,
        }

    rows = []
    for (experiment, recipe, rule), members in _grouped(found, "experiment", "recipe", "rule").items():
        rows.append(row(experiment or "none", recipe or "shared", rule, members))
    for (experiment, recipe), members in _grouped(found, "experiment", "recipe").items():
        if recipe is not None:
            rows.append(row(experiment, recipe, "all", members))
    for (experiment,), members in _grouped(found, "experiment").items():
        if experiment is not None:
            rows.append(row(experiment, "all", "all", members))
    rows.append(row("all", "all", "all", found))
    return rows
