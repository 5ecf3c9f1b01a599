"""The account of a study: every number of its tables and its report, from attributed joules and stage results.

Pure: what was read goes in, one JSON object comes out. Two views of the same joules stand side by side. *Spent* counts
every attempt once, also the failed, killed, lost and superseded ones. *Cost to produce* follows one model's lineage and
counts each ancestor once for that model, so a parent shared by two models is in the cost of both.
"""

import datetime
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenllm.config.models import Config
from greenllm.footprint import compare
from greenllm.footprint.attempts import UNSUCCESSFUL, WASTE, Attempt, attempts, total
from greenllm.footprint.carbon import J_PER_kWh, GridFactor, carbon_g, grid_factor
from greenllm.footprint.compare import Interval, interval
from greenllm.footprint.efficiency import UNITS, units_of_work
from greenllm.footprint.lineage import Step, chain, steps
from greenllm.footprint.power import Piece, series
from greenllm.footprint.study import Key, Study
from greenllm.meter.estimate import Estimate, ratio
from greenllm.meter.estimate import total as sum_of
from greenllm.tasks import TASKS

if TYPE_CHECKING:
    from greenllm.attribution import Attribution

SCHEMA = "greenllm/account/1"


def account(study: Study, attribution: "Attribution", packages: Mapping[str, str]) -> dict[str, Any]:
    """Return the account of a study as a JSON object (its shape: results/README.md, `account/account.json`)."""
    raw = attribution.to_json()
    found = attempts(raw)
    current = {step: attempt for attempt in found if attempt.standing == "current" and (step := _step(attempt))}
    ended = max((attempt.ended or attempt.started for attempt in found), default=None)
    year = datetime.datetime.fromisoformat(ended).year if ended else datetime.datetime.now(datetime.UTC).year
    factor = grid_factor(study.config.site, year)
    models = {key: _model(key, study, found, current, attribution, factor) for key in study.keys()}
    return {
        "schema": SCHEMA,
        "until": ended,
        "config": study.config.model_dump(mode="json", by_alias=True, exclude_none=True),
        "policy": raw["policy"],
        "parameters": raw["parameters"],
        "hosts": raw["hosts"],
        "ledgers": raw["ledgers"],
        "packages": dict(packages),
        "grid": None if factor is None else factor.to_json(),
        "grid_reason": "site.country is null and no factor of your own is given" if factor is None else None,
        "pue": study.config.site.pue,
        "experiments": {
            name: {
                "task": experiment.task,
                "metrics": dict(TASKS[experiment.task].metrics),
                "primary": TASKS[experiment.task].primary,
                "card": study.cards.get(name),
                "preparation": study.preparations.get(name),
                "comparison": _comparison(name, study, {k: m for k, m in models.items() if k[0] == name}),
            }
            for name, experiment in study.config.experiments.items()
        },
        "models": [_without_estimates(model) for model in models.values()],
        "spent": _spent(found, factor, study.config),
        "jobs": [_job(attempt, study) for attempt in found],
        "efficiency": _efficiency(found, study, models),
        "impact": _impact(found, factor, study.config),
        "methods": _methods(found),
        "power": _power(found, attribution),
        "missing": _missing(study, found),
    }


def _step(attempt: Attempt) -> Step | None:
    """Return the step in a model's making that an attempt was at."""
    if attempt.experiment is None:
        return None
    return Step(attempt.rule, attempt.experiment, attempt.recipe, attempt.seed)


def _energy(estimate: Estimate | None) -> Interval | None:
    return None if estimate is None else interval(estimate)


def _impact_of(estimate: Estimate | None, factor: GridFactor | None, config: Config) -> dict[str, Any]:
    """Return an energy and its carbon; the site's scope (times PUE) apart, and null where the PUE is not given."""
    energy, pue = _energy(estimate), config.site.pue
    return {
        "energy_J": energy,
        "carbon_g": carbon_g(energy, factor),
        "carbon_site_g": None if pue is None else carbon_g(energy, factor, pue),
    }


# --- one model ---------------------------------------------------------------------------------------------------------


def _model(
    key: Key,
    study: Study,
    found: Sequence[Attempt],
    current: Mapping[Step, Attempt],
    attribution: "Attribution",
    factor: GridFactor | None,
) -> dict[str, Any]:
    """Return what is known of one model; `_energies` holds estimates for comparing it, dropped in the output."""
    experiment, recipe, seed = key
    evaluation, measurement = study.evaluations.get(key), study.measurements.get(key)
    training, about = study.trainings.get(key), study.models.get(key, {})
    cost, cost_parts = _cost_to_produce(key, study, found, current)
    serving, window = _serving(measurement, {attempt.id: attempt for attempt in found}, attribution)
    energies = {"produce": None if cost_parts["missing"] else cost}
    if window is not None and measurement is not None:
        energies["request"] = window.scaled(1 / measurement["answered"]) if measurement["answered"] else None
    return {
        "experiment": experiment,
        "recipe": recipe,
        "seed": seed,
        "chain": chain(study.config.recipes, recipe),
        "engine": (evaluation or measurement or about).get("engine"),
        "precision": (evaluation or measurement or about).get("precision"),
        "parameters": about.get("parameters"),
        "model_bytes": (measurement or {}).get("model_bytes"),
        "quality": None if evaluation is None else {
            "primary": evaluation["primary"],
            "metrics": evaluation["metrics"],
            "examples": evaluation["examples"],
            "bootstrap": evaluation["bootstrap"],
            "finish": evaluation.get("finish"),
        },
        "training": None if training is None else {
            name: training.get(name)
            for name in ("steps", "epochs", "tokens", "samples", "flops", "precision", "resumed_from_step", "stopped_early")
        },
        "serving": serving,
        "cost_to_produce": {**_impact_of(cost, factor, study.config), **cost_parts},
        "_energies": energies,
    }


def _without_estimates(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model.items() if not name.startswith("_")}


def _cost_to_produce(
    key: Key, study: Study, found: Sequence[Attempt], current: Mapping[Step, Attempt]
) -> tuple[Estimate | None, dict[str, Any]]:
    """Return the energy of a model's lineage, each ancestor's once, and its parts.

    A training that resumed from a checkpoint rests on the attempts that were cut off before it, so theirs count as well.
    """
    experiment, recipe, seed = key
    parts: list[dict[str, Any]] = []
    missing: list[str] = []
    energies: list[Estimate | None] = []
    for step in steps(study.config, experiment, recipe, seed):
        name = " ".join(part for part in (step.rule, step.recipe) if part)
        if (last := current.get(step)) is None:
            missing.append(f"{name}: no attempt in the ledgers succeeded")
            continue
        chosen = [last]
        training = study.trainings.get((experiment, step.recipe or "", seed)) if step.rule == "train" else None
        if training is not None and training.get("resumed_from_step") is not None:
            before = [attempt for attempt in found if _step(attempt) == step and attempt.started < last.started]
            successes = [index for index, attempt in enumerate(before) if attempt.standing == "superseded"]
            chosen = [a for a in before[successes[-1] + 1 if successes else 0 :] if a.standing in UNSUCCESSFUL] + chosen
        energy = total(attempt.energy_J for attempt in chosen)
        if energy is None:
            missing.append(f"{name}: {'; '.join(last.unknown) or 'no energy known'}")
        energies.append(energy)
        parts.append(
            {"rule": step.rule, "recipe": step.recipe, "ids": [a.id for a in chosen], "energy_J": _energy(energy)}
        )
    if study.config.experiments[experiment].model.init != "scratch":
        missing.append("the training of the model it started from was done elsewhere")
    return total(energies), {"steps": parts, "missing": missing}


def _serving(
    measurement: Mapping[str, Any] | None, by_id: Mapping[str, Attempt], attribution: "Attribution"
) -> tuple[dict[str, Any] | None, Estimate | None]:
    """Return what the load measurement found, and the server's energy in its window."""
    if measurement is None:
        return None, None
    window, server = measurement["window"], by_id.get(measurement["serve_id"] or "")
    energy = reason = None
    if server is None:
        reason = "the server's ledger is not there"
    else:
        energy = attribution.energy_between(server.id, window["monotonic_start_s"], window["monotonic_end_s"])
        if energy is None:
            reason = "; ".join(server.unknown) or "no sensor was read within the window"
    per: dict[str, Any] = {}
    for unit, work in (("request", measurement["answered"]), ("token", measurement["completion_tokens"])):
        per[f"energy_per_{unit}_J"] = None if energy is None or not work else _energy(energy.scaled(1 / work))
    names = ("requests", "answered", "failed", "concurrency", "rate_per_s", "latency_s", "time_to_first_token_s")
    return {
        "energy_J": _energy(energy),
        **per,
        "reason": reason,
        "method": None if server is None else server.method,
        "quality": None if server is None else server.quality,
        "duration_s": window["monotonic_end_s"] - window["monotonic_start_s"],
        **{name: measurement.get(name) for name in names},
        **{name: measurement.get(name) for name in ("throughput", "prompt_tokens", "completion_tokens", "agreement")},
    }, energy


# --- comparing recipes -------------------------------------------------------------------------------------------------


def _comparison(experiment: str, study: Study, models: Mapping[Key, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare an experiment's recipes with its baseline: the recipe of that name, else the first it lists."""
    recipes = study.config.experiments[experiment].recipes
    baseline = "baseline" if "baseline" in recipes else recipes[0]
    rows = [_compared(experiment, baseline, recipe, study, models) for recipe in recipes]
    return {"baseline": baseline, "seeds": study.config.experiments[experiment].seeds, "recipes": rows}


def _by_seed(models: Mapping[Key, Mapping[str, Any]], recipe: str, energy: str) -> dict[int, Estimate]:
    return {
        seed: estimate
        for (_, name, seed), model in models.items()
        if name == recipe and (estimate := model["_energies"].get(energy)) is not None
    }


def _compared(
    experiment: str, baseline: str, recipe: str, study: Study, models: Mapping[Key, Mapping[str, Any]]
) -> dict[str, Any]:
    task = TASKS[study.config.experiments[experiment].task]
    own = [model for (_, name, _), model in models.items() if name == recipe]
    served = [model["serving"] for model in own if model["serving"] is not None]
    request = _by_seed(models, recipe, "request")
    produce = _by_seed(models, recipe, "produce")
    same = recipe == baseline
    factor = None if same else compare.times_less(_by_seed(models, baseline, "request"), request)
    quality = _quality_over_seeds([model["quality"] for model in own if model["quality"] is not None], task.primary)
    difference = None if same else _quality_difference(experiment, baseline, recipe, study, models)
    return {
        "recipe": recipe,
        "is_baseline": same,
        "seeds_measured": sorted(request),
        "engine": next((model["engine"] for model in own if model["engine"]), None),
        "precision": next((model["precision"] for model in own if model["precision"]), None),
        "quality": quality,
        "quality_difference": difference,
        "energy_per_request_J": compare.mean_over_seeds(request),
        "energy_per_token_J": _mean_interval([serving["energy_per_token_J"] for serving in served]),
        "energy_quality": next((serving["quality"] for serving in served if serving["quality"]), None),
        "times_less": factor,
        "verdict": "baseline" if same else compare.verdict(factor),
        "latency_p50_s": _mean([_within(serving["latency_s"], "p50") for serving in served]),
        "latency_p95_s": _mean([_within(serving["latency_s"], "p95") for serving in served]),
        "requests_per_s": _mean([_within(serving["throughput"], "requests_per_s") for serving in served]),
        "model_bytes": _mean([model["model_bytes"] for model in own]),
        "cost_to_produce_J": compare.mean_over_seeds(produce),
        "break_even_requests": None if same else _break_even(models, baseline, recipe),
        "reason": next((serving["reason"] for serving in served if serving["reason"]), None)
        if served
        else "not deployed",
    }


def _within(table: Mapping[str, Any] | None, name: str) -> float | None:
    return None if table is None else table.get(name)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _mean_interval(values: Iterable[Interval | None]) -> Interval | None:
    """Return the mean of intervals whose errors are shared (same sensors), widened by their spread."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = {name: sum(value[name] for value in known) / len(known) for name in ("value", "low", "high")}
    return compare.widened(mean, [value["value"] for value in known])


def _quality_over_seeds(qualities: Sequence[Mapping[str, Any]], primary: str) -> dict[str, Any] | None:
    """Return the primary metric's mean over seeds; all seeds share one test set, so its error does not average out."""
    values = [quality["metrics"][primary] for quality in qualities if primary in quality["metrics"]]
    if not values:
        return None
    mean = {name: sum(value[name] for value in values) / len(values) for name in ("value", "low", "high")}
    return {"metric": primary, **mean, "examples": qualities[0]["examples"]}


def _quality_difference(
    experiment: str, baseline: str, recipe: str, study: Study, models: Mapping[Key, Mapping[str, Any]]
) -> dict[str, Any] | None:
    task = TASKS[study.config.experiments[experiment].task]
    both = [
        seed
        for seed in study.config.experiments[experiment].seeds
        if models[experiment, baseline, seed]["quality"] and models[experiment, recipe, seed]["quality"]
    ]
    if not both:
        return None
    answers = {name: [study.predictions((experiment, name, seed)) for seed in both] for name in (baseline, recipe)}
    difference = compare.paired_difference(task, task.primary, answers[baseline], answers[recipe])
    method = "paired bootstrap over the test examples"
    if difference is None:
        means = [
            _quality_over_seeds([models[experiment, name, seed]["quality"] for seed in both], task.primary)
            for name in (baseline, recipe)
        ]
        if means[0] is None or means[1] is None:
            return None
        difference = compare.unpaired_difference(means[0], means[1])
        method = "difference of two intervals (predictions are not there)"
    resolved = difference["low"] > 0 or difference["high"] < 0
    return {**difference, "metric": task.primary, "method": method, "resolved": resolved}


def _break_even(models: Mapping[Key, Mapping[str, Any]], baseline: str, recipe: str) -> dict[str, Any] | None:
    """Return the requests after which a recipe's extra cost to produce has been saved; None where it saves nothing.

    Extra energy over saving a request, both from the same seed; the bounds let shared parameters cancel.
    """
    tables = [_by_seed(models, name, energy) for name in (baseline, recipe) for energy in ("produce", "request")]
    seeds = sorted(set.intersection(*(set(table) for table in tables)))
    if not seeds:
        return None
    sums = [sum_of(table[seed] for seed in seeds) for table in tables]
    extra, saving = sums[2] + sums[0].scaled(-1), sums[1] + sums[3].scaled(-1)
    if saving.value <= 0 or saving.low <= 0:
        return None
    if extra.value <= 0:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    found = ratio(extra, saving)
    return interval(found) if math.isfinite(found.high) else None


# --- what was spent ----------------------------------------------------------------------------------------------------


def _grouped(found: Iterable[Attempt], *names: str) -> dict[tuple[Any, ...], list[Attempt]]:
    groups: dict[tuple[Any, ...], list[Attempt]] = defaultdict(list)
    for attempt in found:
        groups[tuple(getattr(attempt, name) for name in names)].append(attempt)
    return groups


def _spent(found: Sequence[Attempt], factor: GridFactor | None, config: Config) -> dict[str, Any]:
    """Return what all attempts spent: in all, by run of the workflow, by stage, by standing."""

    def spent(chosen: Iterable[Attempt]) -> dict[str, Any]:
        chosen = list(chosen)
        return {
            "attempts": len(chosen),
            **_impact_of(total(a.energy_J for a in chosen), factor, config),
            "waste_J": _energy(total(a.energy_J for a in chosen if a.standing in WASTE)),
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


def _impact(found: Sequence[Attempt], factor: GridFactor | None, config: Config) -> list[dict[str, Any]]:
    """Return the rows of the table `impact`: stages, then sums over recipes, experiments and the study."""

    def row(experiment: str | None, recipe: str | None, stage: str | None, chosen: Sequence[Attempt]) -> dict[str, Any]:
        impact = _impact_of(total(a.energy_J for a in chosen), factor, config)
        waste = total(a.energy_J for a in chosen if a.standing in WASTE)
        energy = _energy(total(a.energy_J for a in chosen))
        return {
            "experiment": experiment or "all",
            "recipe": recipe or "all",
            "stage": stage or "all",
            "attempts": len(chosen),
            "energy_J": impact["energy_J"],
            "waste_J": _energy(waste),
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

    named = [attempt for attempt in found if attempt.experiment is not None]
    rows = [row(*key, members) for key, members in _grouped(named, "experiment", "recipe", "rule").items()]
    rows += [row(None, None, rule, m) for (rule,), m in _grouped([a for a in found if a.experiment is None], "rule").items()]
    with_recipe = [attempt for attempt in named if attempt.recipe is not None]
    rows += [row(*key, None, members) for key, members in _grouped(with_recipe, "experiment", "recipe").items()]
    rows += [row(experiment, None, None, members) for (experiment,), members in _grouped(named, "experiment").items()]
    rows.append(row(None, None, None, found))
    return rows


# --- energy per unit of work -------------------------------------------------------------------------------------------


def _work(attempt: Attempt, study: Study) -> dict[str, float | None]:
    return dict(study.logs.get(attempt.id, {}).get("work") or {})


def _job(attempt: Attempt, study: Study) -> dict[str, Any]:
    names = ("id", "parent", "run_id", "host", "rule", "experiment", "recipe", "seed", "number", "status", "standing")
    return {
        **{name: getattr(attempt, name) for name in names},
        "started": attempt.started,
        "ended": attempt.ended,
        "energy_J": _energy(attempt.energy_J),
        "components": [
            {name: part[name] for name in ("component", "device", "method", "quality", "energy_J", "reason") if name in part}
            for part in attempt.components
        ],
        "quality": attempt.quality,
        "unknown": list(attempt.unknown),
        "work": _work(attempt, study),
    }


def _efficiency(
    found: Sequence[Attempt], study: Study, models: Mapping[Key, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of the table `efficiency`: E = C/R of each stage, and of the server within its window."""
    rows = []
    for attempt in found:
        if attempt.standing != "current" or attempt.experiment is None:
            continue
        units = units_of_work(_work(attempt, study))
        rows.append(_efficiency_row(attempt, "whole stage", attempt.energy_J, units))
    by_id = {attempt.id: attempt for attempt in found}
    for key, model in models.items():
        measurement, serving = study.measurements.get(key), model["serving"]
        if measurement is None or serving is None or measurement["serve_id"] not in by_id:
            continue
        server = by_id[measurement["serve_id"]]
        units = units_of_work({"requests": measurement["answered"], "tokens": measurement["completion_tokens"]})
        request = model["_energies"].get("request")
        energy = None if request is None else request.scaled(measurement["answered"])
        rows.append(_efficiency_row(server, "server, measurement window", energy, units))
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
        "energy_J": _energy(energy),
    }
    for unit in UNITS:
        amount = units[unit.name]
        row[f"work_{unit.name}"] = amount
        index = None if energy is None or amount is None else _energy(energy.scaled(1 / amount))
        row[f"J_per_{unit.name}"] = index
    return {**row, "method": attempt.method, "quality": attempt.quality, "unknown": "; ".join(attempt.unknown) or None}


# --- how it was measured, and what is not there ------------------------------------------------------------------------


def _methods(found: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Return each (host, component, device) with how its energy was found and how much of the study's it is."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for attempt in found:
        for part in attempt.components:
            key = (attempt.host, part["component"], part.get("device"), part["method"], part["quality"])
            row = rows.setdefault(
                key,
                {
                    **dict(zip(("host", "component", "device", "method", "quality"), key, strict=True)),
                    "energy_J": None,
                    "attempts": 0,
                    "parameters": [],
                    "reason": None,
                },
            )
            row["attempts"] += 1
            if part["energy_J"] is None:
                row["reason"] = part.get("reason")
            else:
                row["energy_J"] = (row["energy_J"] or 0.0) + part["energy_J"]["value"]
                row["parameters"] = sorted({*row["parameters"], *(term["parameter"] for term in part["terms"])})
    return [rows[key] for key in sorted(rows, key=str)]


def _power(found: Sequence[Attempt], attribution: "Attribution") -> list[dict[str, Any]]:
    """Return each host's attributed power over time, by component and stage."""
    pieces: dict[str, list[Piece]] = defaultdict(list)
    for attempt in found:
        for start, end, wall, watts in attribution.power(attempt.id):
            began = datetime.datetime.fromisoformat(wall).timestamp() if isinstance(wall, str) else float(wall)
            for component, power_W in watts.items():
                if component != "platform" and power_W is not None:
                    pieces[attempt.host].append((began, began + (end - start), attempt.rule, component, power_W))
    return [{"host": host, "segments": series(members)} for host, members in sorted(pieces.items())]


def _missing(study: Study, found: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Return what the configuration asks for and the results lack, with what the ledgers say of it."""
    rows = []
    for key in study.keys():
        experiment, recipe, seed = key
        for stage, table in (("evaluate", study.evaluations), ("deploy", study.measurements)):
            if key in table:
                continue
            tried = [attempt for attempt in found if _step(attempt) == Step(stage, experiment, recipe, seed)]
            before = [
                attempt
                for attempt in found
                if attempt.standing in UNSUCCESSFUL and _step(attempt) in set(steps(study.config, *key))
            ]
            if tried:
                reason = f"attempt {tried[-1].number} {tried[-1].status}"
            elif before:
                reason = f"not started; {before[-1].rule} {before[-1].recipe or ''} {before[-1].status} before it"
            else:
                reason = "not run yet"
            rows.append(
                {"experiment": experiment, "recipe": recipe, "seed": seed, "stage": stage, "reason": " ".join(reason.split())}
            )
    return rows
