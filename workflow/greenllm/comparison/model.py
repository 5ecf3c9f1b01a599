"""One model of a study: what is known of its quality, its service and its cost to produce."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.comparison.intervals import Interval, Quantity, energy_of
from greenllm.comparison.served import Point, Serving, serving_of
from greenllm.comparison.spread import Repeated
from greenllm.estimate import Estimate
from greenllm.footprint.carbon import GridFactor
from greenllm.footprint.impact import impact_of
from greenllm.footprint.standing import Attempt, total
from greenllm.study.chain import Step, steps
from greenllm.study.results import Key, Study

if TYPE_CHECKING:
    from greenllm.attribution import Attribution

WORK = {"request": "answered", "token": "completion_tokens"}  # unit of serving → the measurement's name for its amount
ELSEWHERE = "the training of the model it started from was done elsewhere"


def model_of(
    key: Key,
    study: Study,
    found: Sequence[Attempt],
    current: Mapping[Step, Attempt],
    attribution: "Attribution",
    factor: GridFactor | None,
) -> dict[str, Any]:
    """Return what is known of one model; names with a `_` hold what it is compared by, dropped in the output."""
    experiment, recipe, seed = key
    evaluation, measurement = study.evaluations.get(key), study.measurements.get(key)
    training, about = study.trainings.get(key), study.models.get(key, {})
    cost, cost_parts = _cost_to_produce(key, study, found, current)
    serving = None
    if measurement is not None:
        serving = serving_of(measurement, {attempt.id: attempt for attempt in found}, attribution)
    return {
        "experiment": experiment,
        "recipe": recipe,
        "seed": seed,
        "chain": study.plan.lineage(recipe),
        "engine": (evaluation or measurement or about).get("engine"),
        "precision": (evaluation or measurement or about).get("precision"),
        "parameters": about.get("parameters"),
        "flops_per_token": (about.get("forward_flops") or {}).get("per_token"),
        "model_bytes": (measurement or {}).get("model_bytes"),
        "quality": None
        if evaluation is None
        else {
            "primary": evaluation["primary"],
            "metrics": evaluation["metrics"],
            "examples": evaluation["examples"],
            "bootstrap": evaluation["bootstrap"],
            "finish": evaluation.get("finish"),
            "subsets": evaluation.get("subsets") or {},
            "hand_over": evaluation.get("hand_over"),
        },
        "training": None
        if training is None
        else {
            name: training.get(name)
            for name in (
                "parameters",
                "steps",
                "epochs",
                "tokens",
                "samples",
                "flops",
                "precision",
                "trainable_parameters",
                "peak_memory_bytes",
                "world_size",
                "wrapper",
                "resumed_from_step",
                "stopped_early",
                "stop_reason",
            )
        },
        "serving": None if serving is None or measurement is None else _served(serving, measurement),
        "cost_to_produce": {**impact_of(cost, factor, study.config), **cost_parts},
        "_serving": serving,
        "_training": current.get(Step("train", experiment, recipe, seed)),
        "_cost_here": None if set(cost_parts["missing"]) - {ELSEWHERE} else cost,
    }


def without_estimates(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model as it is written: without what it is compared by."""
    return {name: value for name, value in model.items() if not name.startswith("_")}


def _cost_to_produce(
    key: Key, study: Study, found: Sequence[Attempt], current: Mapping[Step, Attempt]
) -> tuple[Estimate | None, dict[str, Any]]:
    """Return the energy of a model's lineage, each ancestor's once, and its parts.

    A training that resumed from a checkpoint rests on the attempts cut off before it, so theirs count as well.
    """
    experiment, recipe, seed = key
    parts: list[dict[str, Any]] = []
    missing: list[str] = []
    energies: list[Estimate | None] = []
    for step in steps(study.plan, experiment, recipe, seed):
        name = " ".join(part for part in (step.rule, step.recipe) if part)
        if (last := current.get(step)) is None:
            missing.append(f"{name}: no attempt in the ledgers succeeded")
            continue
        chosen = [last]
        training = (
            study.trainings.get((experiment, step.recipe or "", seed)) if step.rule in ("train", "compress") else None
        )
        if training is not None and training.get("resumed_from_step") is not None:
            before = [attempt for attempt in found if attempt.step == step and attempt.started < last.started]
            successes = [index for index, attempt in enumerate(before) if attempt.status == "succeeded"]
            chosen = [a for a in before[successes[-1] + 1 if successes else 0 :] if a.standing in UNSUCCESSFUL] + chosen
        energy = total(attempt.energy_J for attempt in chosen)
        if energy is None:
            missing.append(f"{name}: {'; '.join(last.unknown) or 'no energy known'}")
        elif any(attempt.unused for attempt in chosen):
            missing.append(f"{name}: {'; '.join(a.incomparable or '' for a in chosen if a.unused)}")
        energies.append(energy)
        parts.append(
            {"rule": step.rule, "recipe": step.recipe, "ids": [a.id for a in chosen], "energy_J": energy_of(energy)}
        )
    if study.plan.starts_from_source(experiment):
        missing.append(ELSEWHERE)
    return total(energies), {"steps": parts, "missing": missing}


def _served(found: Serving, measurement: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the load measurement found: at the concurrency that is compared, and in `points` at each."""
    points = [_point(point) for point in found.points]
    names = ("agreement", "memory_bytes", "memory_reason")
    return {
        **points[0],
        "points": points,
        "reason": found.reason,
        "method": found.server and found.server.method,
        "quality": found.server and found.server.quality,
        "idle_power_W": energy_of(found.idle_power),
        **{name: measurement.get(name) for name in names},
    }


def _point(point: Point) -> dict[str, Any]:
    names = (
        "requests", "answered", "failed", "concurrency", "rate_per_s", "latency_s", "time_to_first_token_s",
        "throughput", "prompt_tokens", "completion_tokens", "stopped",
    )  # fmt: skip
    return {
        "energy_J": energy_of(point.energy),
        **{f"energy_per_{unit}_J": _over_rounds(point.energy_per(work)) for unit, work in WORK.items()},
        "rounds": len(point.written["rounds"]),
        "duration_s": point.duration_s,
        **{name: point.written.get(name) for name in names},
    }


def _over_rounds(quantity: Repeated | None) -> Interval | None:
    """Return one deployment's quantity with the sensors' error and the spread between its rounds."""
    return None if quantity is None else Quantity({"": {0: quantity}}).mean("")
