"""Reports of software carbon intensity: SCI (ISO/IEC 21031:2024) and SCI for AI, its consumer and provider score.

SCI = (O + M) per R with O = E · I: https://github.com/Green-Software-Foundation/sci, SPEC.md; SCI for AI:
https://github.com/Green-Software-Foundation/sci-ai, SPEC.md, and the fields of its case studies' report template.
A sum without M, the embodied carbon, is not an SCI and is not called one: its name says what it is.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.estimate import PartialInterval
from greenllm.exports.consequences import Coefficient, Consequences, consequences, total
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form, Json, known
from greenllm.exports.stages import Serving, Stage, model_name, provided, serving_of, version_of
from greenllm.footprint.carbon import J_PER_kWh

# Tasks that are billed by the token; the others are answered by requests.
BY_TOKEN = ("language-modelling",)
WITHOUT_M = "operational carbon only: not an SCI, since the embodied carbon (M) is unknown"


@dataclass(frozen=True)
class FunctionalUnit:
    """R: what a score is per, how many of them were counted, and why it was chosen."""

    name: str
    count: float
    rationale: str


def _files(exported: Exported) -> Files:
    account = exported.account
    site = consequences(account, exported.footprint)
    if site.grid is None:
        raise DoesNotApplyError(f"no grid factor: {account.grid_reason}; set site.country and make the account again")
    reports = [report for model in account.models for report in sci_reports(account, model, site)]
    if not reports:
        raise DoesNotApplyError("no energy of any model is known; look at `unknown` of the jobs in account.json")
    return {
        "sci.json": json.dumps({"reports": reports}, indent=2, ensure_ascii=False) + "\n",
        "sci.md": "\n".join(line for report in reports for line in _markdown(report)),
    }


def sci_reports(account: Account, model: ModelRow, site: Consequences) -> Iterator[Json]:
    """Yield a model's consumer score, of answering, and its provider score, of making it."""
    serving = serving_of(account, model)
    if serving is not None and serving.energy_J is not None:
        unit = _unit_of_answers(account, model, serving)
        if unit.count:
            yield _report(account, model, "consumer", [serving], unit, site)
    stages = [stage for stage in provided(account, model) if stage.energy_J is not None]
    if model.parameters and stages:
        rationale = (
            "known for every recipe, also for one that trains nothing and so has no training tokens or operations; "
            "gross: all parameters of the model as it is stored, zeros of pruning included"
        )
        unit = FunctionalUnit("billion parameters", model.parameters / 1e9, rationale)
        yield _report(account, model, "provider", stages, unit, site)


def _unit_of_answers(account: Account, model: ModelRow, serving: Serving) -> FunctionalUnit:
    task = account.experiments[model.experiment].task
    if task in BY_TOKEN and serving.served.completion_tokens:
        return FunctionalUnit("generated token", serving.served.completion_tokens, "text is billed by the token")
    return FunctionalUnit("request", serving.served.answered, "a request is one complete answer of the task")


def _report(
    account: Account, model: ModelRow, score: str, stages: Sequence[Stage], unit: FunctionalUnit, site: Consequences
) -> Json:
    parts = [_component(stage, model, unit, site, score) for stage in stages]
    complete = all(part["embodied"] is not None for part in parts)
    if not complete:  # a sum with some of M would be neither
        parts = [{**part, "embodied": None, "score": part["operational"]} for part in parts]
    return {
        "name": f"SCI for AI, {score} score" if complete else f"{score} score, {WITHOUT_M}",
        "isSCI": complete,
        "score": _summed([part["score"] for part in parts]),
        "unit": f"gCO2e per {unit.name}",
        "breakdown": {"operational": _summed([part["operational"] for part in parts]),
                      "embodied": _summed([part["embodied"] for part in parts]) if complete else None},
        "functionalUnit": {"name": unit.name, "count": unit.count, "rationale": unit.rationale},
        "application": {
            "name": model_name(model),
            "version": version_of(account),
            "description": f"{account.experiments[model.experiment].task}, recipe {model.recipe}",
            "url": None,
        },
        "organisation": {"name": None, "accountable": None, "contact": None},
        "measured": {"from": min(stage.started for stage in stages), "until": account.until},
        "boundary": _boundary(score, stages, site),
        "manifest": "account.json",
        "coefficients": [known(**vars(one)) for one in _coefficients(account, site)],
        "methodologies": {
            "E": _methodology(stages), "I": "sourced", "O": "modeled", "M": "modeled" if complete else None,
            "R": "measured",
        },
        "assumptions": _assumptions(stages, model, site),
        "components": parts,
    }  # fmt: skip


def _boundary(score: str, stages: Sequence[Stage], site: Consequences) -> str:
    energy = f"energy: {site.boundary(stages[0])}"
    if score == "consumer":
        return f"serving under load; {energy}"
    names = ", ".join(dict.fromkeys(stage.name for stage in stages))
    return f"{names}; {energy}; every attempt counts, failed ones included"


def _methodology(stages: Sequence[Stage]) -> str:
    """Return how the energy was found: a part that is modelled makes it modelled."""
    return "measured" if all(stage.quality == "measured" for stage in stages) else "modeled"


def _component(stage: Stage, model: ModelRow, unit: FunctionalUnit, site: Consequences, score: str) -> Json:
    """Return a stage's part of a score: O and M per R, and how its energy was found."""
    operational = _per(site.carbon_g(stage), unit.count)
    if score == "consumer":
        embodied = site.embodied_per_request_g.get((model.experiment, model.recipe))
        embodied = embodied if unit.name == "request" else None
    else:
        shares = [site.embodied_g.get(job.id) for job in stage.jobs]
        whole = None if None in shares else total(share for share in shares if share is not None)
        embodied = _per(whole, unit.count)
    energy_J = site.energy_J(stage)
    return {
        "name": " ".join(filter(None, (stage.name, stage.recipe))),
        "method": "eim",
        "functionalUnit": unit.name,
        "operational": _written(operational),
        "embodied": _written(embodied),
        "score": _written(total(part for part in (operational, embodied) if part is not None)),
        "energy_kWh": energy_J and energy_J.value / J_PER_kWh,
        "description": stage.method,
        "methodologies": {"E": _methodology([stage]), "I": "sourced"},
    }


def _coefficients(account: Account, site: Consequences) -> Iterator[Coefficient]:
    """Yield every coefficient between a sensor's reading and a gram."""
    if (grid := site.grid) is not None:
        source = f"{grid.source}; {grid.method}; {'year unknown' if grid.year is None else grid.year}"
        yield Coefficient("I: carbon intensity of electricity", grid.value, grid.low, grid.high, grid.unit, source)
    if site.pue is not None:
        pue = site.pue
        yield Coefficient("PUE", pue.value, pue.low, pue.high, pue.unit, pue.source)
    yield Coefficient("joules in a kilowatt hour", J_PER_kWh, None, None, "J/kWh", "definition")
    for name, one in account.parameters.items():
        if not name.startswith("unseen@"):
            yield Coefficient(f"E: {name}", one.value, one.low, one.high, one.unit, one.source)
    yield from site.coefficients


def _assumptions(stages: Sequence[Stage], model: ModelRow, site: Consequences) -> list[str]:
    said = (
        [] if site.pue is not None else ["the energy of the site beyond its IT equipment is left out: no PUE is given"]
    )
    if site.operational_g is None and not isinstance(stages[0], Serving):
        said.append("the hosts' idle energy is left out: the account has no footprint, which divides it")
    said += [f"{stage.name}: {reason}" for stage in stages for reason in stage.unknown]
    said += model.cost_to_produce.missing
    return [*dict.fromkeys(said), "errors of parts of a sum are taken as shared: bounds are added"]


def _per(carbon: PartialInterval | None, count: float) -> PartialInterval | None:
    if carbon is None:
        return None
    low, high = (None if grams is None else grams / count for grams in carbon[1:])
    return PartialInterval(carbon.value / count, low, high)


def _written(carbon: PartialInterval | None) -> Json | None:
    return carbon and carbon.to_json()


def _summed(parts: Sequence[Json | None]) -> Json | None:
    return _written(total(PartialInterval(**part) for part in parts if part is not None))


def _markdown(report: Json) -> Iterator[str]:
    """Yield a report for readers, in the order of the template."""
    score, unit = report["score"], report["unit"]
    yield f"# {report['application']['name']}: {report['name']}\n"
    yield f"**{score['value']:.4g} {unit}** ({_bounds(score)})\n"
    yield f"- Functional unit: {report['functionalUnit']['name']}; {report['functionalUnit']['rationale']}."
    yield f"- Boundary: {report['boundary']}."
    yield f"- Measured from {report['measured']['from']} until {report['measured']['until']}.\n"
    yield f"| component | {unit} | share |\n| --- | --- | --- |"
    for part in report["components"]:
        share = part["score"]["value"] / score["value"] if score["value"] else 0.0
        yield f"| {part['name']} | {part['score']['value']:.4g} | {share:.1%} |"
    yield f"| **sum** | {score['value']:.4g} | 100.0% |\n"
    yield "| coefficient | value | unit | source |\n| --- | --- | --- | --- |"
    for one in report["coefficients"]:
        yield f"| {one['name']} | {one['value']:.6g} | {one['unit']} | {one['source']} |"
    yield "\nAssumptions:\n"
    yield from (f"- {line}" for line in report["assumptions"])
    yield ""


def _bounds(score: Json) -> str:
    known = score["low"] is not None and score["high"] is not None
    return f"95 % interval {score['low']:.4g} to {score['high']:.4g}" if known else "bounds of the grid factor unknown"


FORM = Form("sci", "SCI and SCI for AI report", _files)
