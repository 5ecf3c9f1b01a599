"""One model of a study: what is known of its quality, its service and its cost to produce."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.footprint.attempts import Attempt, total
from greenllm.footprint.carbon import GridFactor
from greenllm.footprint.efficiency import index_of
from greenllm.footprint.intervals import energy_of
from greenllm.footprint.lineage import Step, steps
from greenllm.footprint.spending import impact_of
from greenllm.footprint.study import Key, Study
from greenllm.meter.estimate import Estimate

if TYPE_CHECKING:
    from greenllm.attribution import Attribution


def model_of(
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
        "chain": study.plan.lineage(recipe),
        "engine": (evaluation or measurement or about).get("engine"),
        "precision": (evaluation or measurement or about).get("precision"),
        "parameters": about.get("parameters"),
        "model_bytes": (measurement or {}).get("model_bytes"),
        "quality": None
        if evaluation is None
        else {
            "primary": evaluation["primary"],
            "metrics": evaluation["metrics"],
            "examples": evaluation["examples"],
            "bootstrap": evaluation["bootstrap"],
            "finish": evaluation.get("finish"),
        },
        "training": None
        if training is None
        else {
            name: training.get(name)
            for name in (
                "steps",
                "epochs",
                "tokens",
                "samples",
                "flops",
                "precision",
                "resumed_from_step",
                "stopped_early",
            )
        },
        "serving": serving,
        "cost_to_produce": {**impact_of(cost, factor, study.config), **cost_parts},
        "_energies": energies,
    }


def without_estimates(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model as it is written: without the estimates it is compared by."""
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
        training = study.trainings.get((experiment, step.recipe or "", seed)) if step.rule == "train" else None
        if training is not None and training.get("resumed_from_step") is not None:
            before = [attempt for attempt in found if attempt.step == step and attempt.started < last.started]
            successes = [index for index, attempt in enumerate(before) if attempt.status == "succeeded"]
            chosen = [a for a in before[successes[-1] + 1 if successes else 0 :] if a.standing in UNSUCCESSFUL] + chosen
        energy = total(attempt.energy_J for attempt in chosen)
        if energy is None:
            missing.append(f"{name}: {'; '.join(last.unknown) or 'no energy known'}")
        energies.append(energy)
        parts.append(
            {"rule": step.rule, "recipe": step.recipe, "ids": [a.id for a in chosen], "energy_J": energy_of(energy)}
        )
    if study.plan.starts_from_source(experiment):
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
    elif not server.comparable:
        reason = "; ".join(server.unknown)
    else:
        energy = attribution.energy_between(server.id, window["monotonic_start_s"], window["monotonic_end_s"])
        if energy is None:
            reason = "no sensor was read within the window"
    per: dict[str, Any] = {}
    for unit, work in (("request", measurement["answered"]), ("token", measurement["completion_tokens"])):
        per[f"energy_per_{unit}_J"] = index_of(energy_of(energy), work)
    names = ("requests", "answered", "failed", "concurrency", "rate_per_s", "latency_s", "time_to_first_token_s")
    return {
        "energy_J": energy_of(energy),
        **per,
        "reason": reason,
        "method": None if server is None else server.method,
        "quality": None if server is None else server.quality,
        "duration_s": window["monotonic_end_s"] - window["monotonic_start_s"],
        **{name: measurement.get(name) for name in names},
        **{name: measurement.get(name) for name in ("throughput", "prompt_tokens", "completion_tokens", "agreement")},
    }, energy
