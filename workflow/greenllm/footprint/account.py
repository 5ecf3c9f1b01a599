"""The account of a study: every number of its tables and its report, from attributed joules and stage results.

Pure: what was read goes in, one JSON object comes out. Two views of the same joules stand side by side. *Spent* counts
every attempt once, also the failed, killed, lost and superseded ones. *Cost to produce* follows one model's lineage and
counts each ancestor once for that model, so a parent shared by two models is in the cost of both.
"""

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.config.models import Config
from greenllm.footprint.attempts import Attempt, attempts
from greenllm.footprint.carbon import GridFactor, grid_factor
from greenllm.footprint.comparison import Comparison, compared
from greenllm.footprint.decision import decided
from greenllm.footprint.efficiency import efficiency_rows
from greenllm.footprint.intervals import energy_of
from greenllm.footprint.lineage import Step, steps
from greenllm.footprint.model import model_of, without_estimates
from greenllm.footprint.power import Piece, series
from greenllm.footprint.spending import impact_rows, spent_by
from greenllm.footprint.study import Key, Study
from greenllm.meter.estimate import UNSEEN
from greenllm.tasks import TASKS

if TYPE_CHECKING:
    from greenllm.attribution import Attribution

SCHEMA = "greenllm/account/2"


def account(study: Study, attribution: "Attribution", packages: Mapping[str, str]) -> dict[str, Any]:
    """Return the account of a study as a JSON object (its shape: results/README.md, `account/account.json`)."""
    raw = attribution.to_json()
    found = attempts(raw)
    ended = max((attempt.ended or attempt.started for attempt in found), default=None)
    year = datetime.datetime.fromisoformat(ended).year if ended else datetime.datetime.now(datetime.UTC).year
    factor = grid_factor(study.config.site, year)
    models = models_of(study, attribution, found, factor)
    comparisons = compared(study, models)
    ordered = _as_configured(found, study.config)
    return {
        "schema": SCHEMA,
        "until": ended,
        "config": study.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "policy": raw["policy"],
        "parameters": raw["parameters"],
        "hosts": raw["hosts"],
        "ledgers": [{"id": job["id"], **ledger} for job, ledger in zip(raw["jobs"], raw["ledgers"], strict=True)],
        "troubles": raw["troubles"],
        "packages": dict(packages),
        "grid": None if factor is None else factor.to_json(),
        "grid_reason": "site.country is null and no factor of your own is given" if factor is None else None,
        "pue": study.config.site.pue,
        "experiments": {
            name: {
                "task": experiment.task,
                "metrics": dict(TASKS[experiment.task].metrics),
                "primary": TASKS[experiment.task].primary,
                "higher_is_better": TASKS[experiment.task].higher_is_better,
                "card": study.cards.get(name),
                "preparation": study.preparations.get(name),
                **_compared(comparisons[name], study),
            }
            for name, experiment in study.config.experiments.items()
        },
        "models": [without_estimates(model) for model in models.values()],
        "spent": spent_by(ordered, factor, study.config),
        "jobs": [_job(attempt) for attempt in found],
        "efficiency": efficiency_rows(ordered, models),
        "impact": impact_rows(ordered, factor, study.config),
        "methods": _methods(found),
        "power": _power(found, attribution),
        "missing": _missing(study, found),
        "unused": [row for attempt in ordered for row in _unused(attempt)],
    }


def models_of(
    study: Study, attribution: "Attribution", found: Sequence[Attempt], factor: GridFactor | None
) -> dict[Key, dict[str, Any]]:
    """Return what is known of each model that the study compares."""
    current = {step: attempt for attempt in found if attempt.standing == "current" and (step := attempt.step)}
    return {key: model_of(key, study, found, current, attribution, factor) for key in study.plan.compared()}


def _compared(comparison: Comparison, study: Study) -> dict[str, Any]:
    rows, recommendation = decided(comparison, study.plan.decision(comparison.experiment))
    seeds = study.config.experiments[comparison.experiment].seeds
    return {
        "comparison": {"baseline": comparison.baseline, "seeds": seeds, "recipes": rows},
        "recommendation": recommendation,
    }


def _as_configured(found: Sequence[Attempt], config: Config) -> list[Attempt]:
    """Return the attempts in the configuration's order of experiments and recipes, each recipe's in order of time."""
    experiments, recipes = list(config.experiments), list(config.recipes)

    def place(name: str | None, names: list[str], without: int) -> int:
        return without if name is None else names.index(name) if name in names else len(names)

    return sorted(
        found,
        key=lambda attempt: (
            place(attempt.experiment, experiments, len(experiments) + 1),
            place(attempt.recipe, recipes, -1),
        ),
    )


def _job(attempt: Attempt) -> dict[str, Any]:
    names = ("id", "parent", "run_id", "host", "rule", "experiment", "recipe", "seed", "number", "status", "standing")
    return {
        **{name: getattr(attempt, name) for name in names},
        "started": attempt.started,
        "ended": attempt.ended,
        "energy_J": energy_of(attempt.energy_J),
        "components": [
            {
                name: part[name]
                for name in ("component", "device", "method", "quality", "energy_J", "reason", "used")
                if name in part
            }
            for part in attempt.components
        ],
        "quality": attempt.quality,
        "unknown": list(attempt.unknown),
        "unused": list(attempt.unused),
        "work": dict(attempt.work),
    }


def _unused(attempt: Attempt) -> list[dict[str, Any]]:
    """Return a row for each GPU that an attempt held and never used, with what it drew meanwhile."""
    names = ("id", "experiment", "recipe", "seed", "host", "status")
    return [
        {name: getattr(attempt, name) for name in names}
        | {"stage": attempt.rule, "gpu": part["device"], "energy_J": part["energy_J"]}
        for part in attempt.components
        if part["device"] in attempt.unused
    ]


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
                names = {f"{UNSEEN}…" if n.startswith(UNSEEN) else n for n in (t["parameter"] for t in part["terms"])}
                row["parameters"] = sorted({*row["parameters"], *names})
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
    for key in study.plan.compared():
        experiment, recipe, seed = key
        for stage, table in (("evaluate", study.evaluations), ("deploy", study.measurements)):
            if key in table:
                continue
            tried = [attempt for attempt in found if attempt.step == Step(stage, experiment, recipe, seed)]
            before = [
                attempt
                for attempt in found
                if attempt.standing in UNSUCCESSFUL and attempt.step in set(steps(study.plan, *key))
            ]
            if tried:
                reason = _failure(tried[-1])
            elif before:
                reason = f"not started: {before[-1].rule} {before[-1].recipe or ''} before it {_failure(before[-1])}"
            else:
                reason = "not run yet"
            rows.append(
                {
                    "experiment": experiment,
                    "recipe": recipe,
                    "seed": seed,
                    "stage": stage,
                    "reason": " ".join(reason.split()),
                }
            )
    return rows


def _failure(attempt: Attempt) -> str:
    if attempt.status == "succeeded":
        return "succeeded, but its result is gone: removed to be made anew"
    code = "" if attempt.exit_code in (None, 0) else f" (exit status {attempt.exit_code})"
    return f"{attempt.status} in attempt {attempt.number}{code}"
