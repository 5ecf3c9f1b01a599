"""A CycloneDX 1.7 ML-BOM (ECMA-424): each model of the study with its model card, quality and energy by stage.

Fields: https://cyclonedx.org/docs/1.7/json. Energies are in kWh and carbon in t CO2e, as the schema asks. Intervals and
methods are in `properties`, since the schema has no place for them.
"""

import json
import uuid
from collections.abc import Iterator

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.documents.card import DataCard
from greenllm.estimate import Interval, PartialInterval
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form, Json, known
from greenllm.exports.stages import Serving, Stage, kWh, life_of, model_name, starts_from, version_of

ACTIVITIES = {
    "collect": "data-collection",
    "preprocess": "data-preparation",
    "evaluate": "validation",
    "deploy": "deployment",
    "serve": "inference",
}  # of a stage that trains: training or fine-tuning; of other stages, such as compress: other
g_PER_t = 1e6


def _files(exported: Exported) -> Files:
    account = exported.account
    components = [*_data(account), *_models(account, consequences(account, exported.footprint))]
    if not any(_consumptions(component) for component in components):
        raise DoesNotApplyError("no energy of any model is known; look at `unknown` of the jobs in account.json")
    total = account.spent.total
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, _identity(account))}",
        "version": 1,
        "metadata": known(
            timestamp=account.until,
            tools={"components": [{"type": "application", "name": "greenllm", "version": version_of(account)}]},
            properties=[
                *_energy_properties("study", total.energy_J),
                *_energy_properties("study:waste", total.waste_J),
            ],
        ),
        "components": components,
    }
    return {"bom.json": json.dumps(bom, indent=2, ensure_ascii=False) + "\n"}


def _identity(account: Account) -> str:
    """Return what tells the study from others: the ids of its attempts."""
    return " ".join(["greenllm", *(job.id for job in account.jobs)])


def _consumptions(component: Json) -> list[Json]:
    considerations = component.get("modelCard", {}).get("considerations", {})
    found: list[Json] = considerations.get("environmentalConsiderations", {}).get("energyConsumptions", [])
    return found


def _data(account: Account) -> Iterator[Json]:
    for name, experiment in account.experiments.items():
        if (card := experiment.card) is not None:
            yield known(
                type="data",
                **{"bom-ref": f"data:{name}"},
                name=name,
                version=card.revision,
                licenses=[{"license": {"name": card.licence}}] if card.licence else None,
                data=[{"type": "dataset", "name": name, "description": _described(card)}],
            )


def _described(card: DataCard) -> str:
    return f"{card.rows} rows, {card.bytes} bytes; source: {card.source}; origin: {card.origin}"


def _models(account: Account, site: Consequences) -> Iterator[Json]:
    for model in account.models:
        experiment = account.experiments[model.experiment]
        start = starts_from(account, model.experiment)
        energies = list(_energy_consumptions(account, model, site))
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{model_name(model)}",
            "name": model_name(model),
            "modelCard": {
                "modelParameters": known(
                    task=experiment.task,
                    datasets=[{"ref": f"data:{model.experiment}"}] if experiment.card else None,
                ),
                "quantitativeAnalysis": {"performanceMetrics": list(_metrics(model))},
                "considerations": {"environmentalConsiderations": {"energyConsumptions": energies}},
            },
            "properties": [
                _property(name, value)
                for name, value in (
                    ("engine", model.engine),
                    ("precision", model.precision),
                    ("parameters", model.parameters),
                    ("starts from", start),
                    *(("not counted", reason) for reason in model.cost_to_produce.missing),
                )
                if value is not None
            ],
        }


def _metrics(model: ModelRow) -> Iterator[Json]:
    for name, interval in (model.quality.metrics if model.quality else {}).items():
        yield {
            "type": name,
            "value": f"{interval.value:.6g}",
            "confidenceInterval": {"lowerBound": f"{interval.low:.6g}", "upperBound": f"{interval.high:.6g}"},
        }


def _energy_consumptions(account: Account, model: ModelRow, site: Consequences) -> Iterator[Json]:
    trained_before = starts_from(account, model.experiment) is not None
    for stage in life_of(account, model):
        activity = "training" if stage.trains else ACTIVITIES.get(stage.name, "other")
        yield _consumption("fine-tuning" if activity == "training" and trained_before else activity, stage, site)


def _consumption(activity: str, stage: Stage, site: Consequences) -> Json:
    """Return an energy consumption; its energy is that of the IT equipment, its carbon that within its boundary."""
    cost = stage.energy_J and {"value": kWh(stage.energy_J).value, "unit": "kWh"}
    carbon = site.carbon_g(stage)
    grid = "unknown" if site.grid is None else f"{site.grid.place}, {site.grid.year or 'year unknown'}"
    serving = stage if isinstance(stage, Serving) else None
    facts = {
        "stage": stage.name,
        "recipe": stage.recipe,
        "attempts": None if serving else len(stage.attempts),
        "starts of the server": serving and serving.starts,
        "how known": stage.quality,
        "method": stage.method,
        "requests answered": serving and serving.served.answered,
    }
    return known(
        activity=activity,
        energyProviders=[
            {
                "description": f"electricity of the grid: {grid}",
                "organization": {"name": "unknown"},
                "energySource": "unknown",
                "energyProvided": cost,
            }
        ],
        activityEnergyCost=cost,
        co2CostEquivalent=carbon and {"value": carbon.value / g_PER_t, "unit": "tCO2eq"},
        properties=[
            *(_property(name, value) for name, value in facts.items() if value is not None),
            *_energy_properties("energy", stage.energy_J),
            *_energy_properties("energy:accelerators", stage.accelerator_J),
            *_energy_properties("energy:wasted", stage.wasted_J),
            *_carbon_properties(carbon, stage, site),
            *(_property("unknown", reason) for reason in stage.unknown),
        ],
    )


def _energy_properties(name: str, energy_J: Interval | None) -> list[Json]:
    return [] if energy_J is None else _interval(name, kWh(energy_J), "kWh")


def _carbon_properties(carbon: PartialInterval | None, stage: Stage, site: Consequences) -> list[Json]:
    if carbon is None or site.grid is None:
        return []
    return [
        *_interval("carbon", carbon, "gCO2e"),
        _property("carbon:boundary", site.boundary(stage)),
        _property("carbon:method", site.grid.method),
        _property("carbon:factor", f"{site.grid.value:g} {site.grid.unit}; {site.grid.source}"),
    ]


def _interval(name: str, interval: Interval | PartialInterval, unit: str) -> list[Json]:
    named = interval._asdict().items()
    return [_property(f"{name}:{bound}_{unit}", f"{amount:.6g}") for bound, amount in named if amount is not None]


def _property(name: str, value: object) -> Json:
    return {"name": f"greenllm:{name}", "value": str(value)}


FORM = Form("cyclonedx", "CycloneDX 1.7 ML-BOM", _files)
