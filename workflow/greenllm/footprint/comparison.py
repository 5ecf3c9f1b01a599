"""An experiment's recipes beside its baseline: energy, quality, speed, cost to produce, break-even."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from greenllm.footprint import intervals
from greenllm.footprint.intervals import Interval, interval
from greenllm.footprint.study import Key, Study
from greenllm.meter.estimate import Estimate, ratio, total
from greenllm.tasks import TASKS


def comparison_of(experiment: str, study: Study, models: Mapping[Key, Mapping[str, Any]]) -> dict[str, Any]:
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
    factor = None if same else intervals.times_less(_by_seed(models, baseline, "request"), request)
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
        "energy_per_request_J": intervals.mean_over_seeds(request),
        "energy_per_token_J": _mean_interval([serving["energy_per_token_J"] for serving in served]),
        "energy_quality": next((serving["quality"] for serving in served if serving["quality"]), None),
        "times_less": factor,
        "verdict": "baseline" if same else intervals.verdict(factor),
        "latency_p50_s": _mean([_within(serving["latency_s"], "p50") for serving in served]),
        "latency_p95_s": _mean([_within(serving["latency_s"], "p95") for serving in served]),
        "requests_per_s": _mean([_within(serving["throughput"], "requests_per_s") for serving in served]),
        "model_bytes": _mean([model["model_bytes"] for model in own]),
        "cost_to_produce_J": intervals.mean_over_seeds(produce),
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
    return intervals.widened(mean, [value["value"] for value in known])


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
    difference = intervals.paired_difference(task, task.primary, answers[baseline], answers[recipe])
    method = "paired bootstrap over the test examples"
    if difference is None:
        means = [
            _quality_over_seeds([models[experiment, name, seed]["quality"] for seed in both], task.primary)
            for name in (baseline, recipe)
        ]
        if means[0] is None or means[1] is None:
            return None
        difference = intervals.unpaired_difference(means[0], means[1])
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
    sums = [total(table[seed] for seed in seeds) for table in tables]
    extra, saving = sums[2] + sums[0].scaled(-1), sums[1] + sums[3].scaled(-1)
    if saving.value <= 0 or saving.low <= 0:
        return None
    if extra.value <= 0:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    found = ratio(extra, saving)
    return interval(found) if math.isfinite(found.high) else None
