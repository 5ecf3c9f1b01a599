"""BoAmps: one report for each stage of each model whose energy is known, as its schemas ask.

Fields: https://github.com/Boavizta/BoAmps, model/*.json. Energies are in kWh. `quality` follows from the interval: high
within ±10 %, medium within ±25 %, low within ±50 %; a wider one has none.
"""

import json
import re
import uuid
from collections.abc import Iterator

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.estimate import Interval
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form, Json, known
from greenllm.exports.stages import (
    MADE,
    Serving,
    Stage,
    half_width,
    life_of,
    starts_from,
    version_of,
)
from greenllm.footprint.carbon import J_PER_kWh

STAGES = {
    "collect": "datacreation",
    "preprocess": "preprocessing",
    "evaluate": "inference",
    "serve": "inference",
}  # of a stage that trains: training or finetuning; of other stages: our name
FAMILIES = {
    "customer-service": "text classification",
    "question-answering": "question answering",
    "translation": "translation",
    "language-modelling": "text generation",
    "chat": "text generation",
    "harness": "text generation",
    "multiple-choice": "question answering",
    "digits": "image classification",
}  # of a task that is not in it: its name
COMPONENTS = {"dram": "ram"}
QUALITIES = ((0.10, "high"), (0.25, "medium"), (0.50, "low"))
SPECIFICATION = "https://github.com/Boavizta/BoAmps/tree/main/model"


def _files(exported: Exported) -> Files:
    account = exported.account
    site = consequences(account, exported.footprint)
    reports: dict[str, str] = {}
    for model in account.models:
        for stage in life_of(account, model):
            # A stage that models share has one report, of the model whose recipe it belongs to where there is one.
            of = f"-{stage.recipe}-seed-{model.seed}" if stage.recipe else ""
            name = f"{model.experiment}{of}-{stage.name}.json"
            if name not in reports or stage.recipe == model.recipe:
                report = _report(account, model, stage, site)
                reports[name] = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if not reports:
        raise DoesNotApplyError("no energy of any model is known; look at `unknown` of the jobs in account.json")
    return reports


def _report(account: Account, model: ModelRow, stage: Stage, site: Consequences) -> Json:
    country = site.country
    return known(
        header=known(
            formatVersionSpecificationUri=SPECIFICATION,
            reportId=str(uuid.uuid5(uuid.NAMESPACE_OID, " ".join((stage.name, *(job.id for job in stage.jobs))))),
            reportDatetime=_time(account.until or stage.started),
            reportStatus="final",
        ),
        task=_task(account, model, stage),
        measures=[
            known(
                measurementMethod=f"greenllm: {stage.method}",
                version=version_of(account),
                cpuTrackingMode=_tracking(stage, "cpu"),
                gpuTrackingMode=_tracking(stage, "gpu"),
                powerConsumption=stage.energy_J and stage.energy_J.value / J_PER_kWh,
                measurementDuration=stage.duration_s,
                measurementDateTime=_time(stage.started),
            )
        ],
        software=known(language="python", version=account.packages.get("python")),
        infrastructure={"infraType": "other", "components": _components(stage)},
        environment=country
        and known(country=country[0], powerSourceCarbonIntensity=site.grid.value if site.grid else None),
        quality=_quality(stage.energy_J),
    )


def _task(account: Account, model: ModelRow, stage: Stage) -> Json:
    experiment = account.experiments[model.experiment]
    start = starts_from(account, model.experiment)
    served = model.serving if stage.name == "serve" else None
    checked = model.quality if stage.name == "evaluate" else None
    name = ("finetuning" if start else "training") if stage.trains else STAGES.get(stage.name, stage.name)
    return known(
        taskStage=name,
        taskFamily=FAMILIES.get(experiment.task, experiment.task),
        nbRequest=served.answered if served else checked.examples if checked else None,
        algorithms=[_algorithm(account, model, stage, start)],
        dataset=list(_datasets(account, model, stage)),
        measuredAccuracy=_accuracy(model) if checked or served else None,
        taskDescription=_described(stage),
    )


def _algorithm(account: Account, model: ModelRow, stage: Stage, start: str | None) -> Json:
    made = stage.name in (*MADE, "evaluate", "serve")
    own = made and stage.recipe == model.recipe  # else the stage of an ancestor, whose size may differ
    training = model.training if own and stage.trains else None
    return known(
        trainingType="supervisedLearning" if stage.trains else None,
        algorithmType=_type(model) if made else "data processing",
        algorithmName=stage.recipe if made else stage.name,
        foundationModelName=start,
        parametersNumber=model.parameters / 1e9 if own and model.parameters is not None else None,
        framework=model.engine if own else None,
        frameworkVersion=account.packages.get(model.engine or "") if own else None,
        epochsNumber=training.epochs if training else None,
        quantization=model.precision if own and not stage.trains else None,
    )


def _type(model: ModelRow) -> str:
    return "neural network" if (model.engine or "").startswith("classifier") else "llm"


def _datasets(account: Account, model: ModelRow, stage: Stage) -> Iterator[Json]:
    """Yield the data that went in, and what came out of a model that answered."""
    if stage.name == "serve" and (served := model.serving) is not None:
        yield known(dataUsage="input", dataType="token", dataQuantity=served.prompt_tokens)
        yield known(dataUsage="output", dataType="token", dataQuantity=served.completion_tokens)
        return
    images = (model.engine or "").startswith("classifier")
    card = account.experiments[model.experiment].card
    yield known(
        dataUsage="output" if stage.name == "collect" else "input",
        dataType="image" if images else "text",
        dataQuantity=stage.work("samples"),
        owner=card.origin if card and card.source != "embedded" else None,
    )


def _described(stage: Stage) -> str | None:
    """Return what the other fields have no place for."""
    if isinstance(stage, Serving):
        said = [f"measured rounds alone; starts of the server: {stage.starts}"]
    else:
        said = [f"{len(stage.attempts)} attempts, failed ones included" if len(stage.attempts) > 1 else ""]
    said += [f"unknown: {reason}" for reason in stage.unknown]
    return "; ".join(filter(None, said)) or None


def _accuracy(model: ModelRow) -> float | None:
    """Return the share of right answers; None where quality is measured in another way."""
    metrics = model.quality.metrics if model.quality else {}
    return next((metrics[name].value for name in ("accuracy", "exact_match") if name in metrics), None)


def _tracking(stage: Stage, component: str) -> str | None:
    found = re.findall(rf"(?:^|; ){component}: ([^ ;]+)", stage.method)
    return ", ".join(found) or None


def _components(stage: Stage) -> list[Json]:
    devices = sorted({(part.component, part.device) for part in stage.parts})
    return [
        {"componentName": device, "componentType": COMPONENTS.get(component, component), "nbComponent": 1}
        for component, device in devices
    ]


def _quality(energy_J: Interval | None) -> str | None:
    width = energy_J and half_width(energy_J)
    return None if width is None else next((name for most, name in QUALITIES if width <= most), None)


def _time(time: str) -> str:
    """Return a time (RFC 3339, UTC) as `YYYY-MM-DD HH:MM:SS`."""
    return re.sub(r"(\.\d+)?Z$", "", time).replace("T", " ")


FORM = Form("boamps", "BoAmps reports", _files)
