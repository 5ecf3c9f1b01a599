"""Hugging Face model cards: a bundle's card, with `co2_eq_emissions` and the section "Environmental Impact".

Fields: https://huggingface.co/docs/hub/model-cards-co2 (emissions in g CO2e, of the making of the model), and the
section of the hub's template. A bundle is made before its energy is known, so its own card has neither.
"""

from collections.abc import Iterator
from pathlib import Path

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.estimate import Interval, PartialInterval
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form, known
from greenllm.exports.stages import Stage, kWh, model_name, serving_of, starts_from, version_of
from greenllm.files import read_json
from greenllm.footprint.carbon import GridFactor
from greenllm.model_folder.manifest import FILE as MANIFEST
from greenllm.model_folder.manifest import Manifest, read_manifest
from greenllm.serving.model_card import EnvironmentalImpact, model_card
from greenllm.serving.scripted_replies import FILE as REPLIES
from greenllm.serving.scripted_replies import Replies
from greenllm.study import layout

s_PER_h = 3600
REMEDY = "expected what `greenllm deploy` wrote"


def _files(exported: Exported) -> Files:
    account = exported.account
    site = consequences(account, exported.footprint)
    cards = {f"{model_name(model)}/README.md": _card(exported, model, site) for model in account.models if model.engine}
    if not cards:
        raise DoesNotApplyError("the study has no model yet; run the workflow first")
    return cards


def _card(exported: Exported, model: ModelRow, site: Consequences) -> str:
    """Return the card that the model's bundle has, with what the account knows."""
    wildcards = {"experiment": model.experiment, "recipe": model.recipe, "seed": str(model.seed)}
    bundle = layout.located(layout.BUNDLE, exported.results, **wildcards)
    replies = bundle / REPLIES
    return model_card(
        "-".join(wildcards.values()),
        exported.account.experiments[model.experiment].task,
        _manifest(bundle, model),
        model.quality,
        wildcards,
        Replies.model_validate(read_json(replies, REMEDY)) if replies.is_file() else None,
        _impact(exported.account, model, site),
    )


def _manifest(bundle: Path, model: ModelRow) -> Manifest:
    """Return the bundle's manifest; without a bundle, one of what the account knows."""
    if (bundle / MANIFEST).is_file():
        return read_manifest(bundle)
    values = {"engine": model.engine, "precision": model.precision, "parameters": model.parameters}
    return Manifest.model_validate(values)


def _impact(account: Account, model: ModelRow, site: Consequences) -> EnvironmentalImpact:
    """Return the impact of making the model and its ancestors once, and of a request to it."""
    making = list(_making(account, model))
    cost = model.cost_to_produce.energy_J
    once = Stage("making", model.recipe, tuple(job for stage in making for job in stage.jobs))
    carbon, boundary = None if cost is None else site.carbon_g(once), site.boundary(once)
    hardware = _hardware(making)
    # "Germany (DEU)": the mean of the world and the user's own factor say no place.
    place = site.grid.place if site.grid and "(" in site.grid.place else None
    bounds = "" if carbon is None or carbon.low is None else f", 95 % interval {carbon.low:.3g} to {carbon.high:.3g} g"
    source = f"GreenLLM {version_of(account)}: joules {_how_known(making)}{bounds}; {boundary}"
    hours = [stage.duration_s for stage in making]
    serving = serving_of(account, model)
    request = serving.served.energy_per_request_J if serving else None
    rows = known(
        **{
            "Hardware Type": hardware,
            "Hours used": None if None in hours or not hours else f"{sum(filter(None, hours)) / s_PER_h:.3g}",
            "Compute Region": place,
            "Energy of making the model": _energy(cost),
            "Not counted in it": "; ".join(model.cost_to_produce.missing) or None,
            "Carbon Emitted (making)": _carbon(carbon),
            "Energy of 1,000 requests": _energy(request and Interval(*(1000 * joules for joules in request))),
            "How it is known": f"{_how_known(making)}; {'; '.join(dict.fromkeys(stage.method for stage in making))}",
            "Boundary": boundary,
            "Grid factor": _grid(site.grid),
        }
    )
    metadata = known(
        emissions=carbon and float(f"{carbon.value:.6g}"),
        source=f"{source}; {site.grid.source}" if site.grid else source,
        training_type=_training_type(account, model, making),
        geographical_location=place,
        hardware_used=hardware,
    )
    return EnvironmentalImpact(metadata, rows)


def _making(account: Account, model: ModelRow) -> Iterator[Stage]:
    """Yield the stages of producing the model once, each with the attempts that it took."""
    for step in model.cost_to_produce.steps:
        yield Stage(step.rule, step.recipe, tuple(account.jobs_by_id[one] for one in step.ids))


def _training_type(account: Account, model: ModelRow, making: list[Stage]) -> str | None:
    if not any(stage.trains for stage in making):
        return None
    return "fine-tuning" if starts_from(account, model.experiment) else "pre-training"


def _hardware(making: list[Stage]) -> str | None:
    found = dict.fromkeys((part.component, part.device) for stage in making for part in stage.parts)
    return "; ".join(f"{component}: {device}" for component, device in sorted(found)) or None


def _how_known(making: list[Stage]) -> str:
    found = {stage.quality for stage in making} - {None}
    return "partly modelled" if len(found) > 1 else str(next(iter(found), "unknown"))


def _grid(grid: GridFactor | None) -> str | None:
    if grid is None:
        return None
    return f"{grid.value:.4g} {grid.unit}, {grid.method}, {grid.year or 'year unknown'}; {grid.source}"


def _energy(energy_J: Interval | None) -> str | None:
    if energy_J is None:
        return None
    value, low, high = kWh(energy_J)
    return f"{value:.3g} kWh ({low:.3g} to {high:.3g})"


def _carbon(carbon: PartialInterval | None) -> str | None:
    if carbon is None:
        return None
    bounds = "bounds unknown" if carbon.low is None or carbon.high is None else f"{carbon.low:.3g} to {carbon.high:.3g}"
    return f"{carbon.value:.3g} g CO2e ({bounds})"


FORM = Form("model-card", "Hugging Face model cards", _files)
