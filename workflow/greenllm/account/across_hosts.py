"""The same experiment on several hosts or devices: its energy per unit of work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from greenllm.account.results_folder import ResultsFolder
from greenllm.comparison.model import ModelFacts
from greenllm.comparison.quantity import Quantity, verdict
from greenllm.comparison.rows import Verdict
from greenllm.comparison.served import PointEnergy
from greenllm.comparison.spread import BySeed, Repeated
from greenllm.errors import UserError
from greenllm.estimate import Estimate, Interval
from greenllm.footprint.standing import JobAttempt

# Settings that decide how much work a unit of work is. Those of the measurement and of the resources may differ.
EVALUATION, DEPLOYMENT = ("rows", "max_tokens"), ("concurrency", "rate_per_s", "batch", "requests")


class ModelQuantity(NamedTuple):
    """A quantity of one model, with the attempt that it was measured on; `reason` says why it is unknown."""

    attempt: JobAttempt | None = None
    quantity: Repeated | None = None
    reason: str | None = None


def _served(model: ModelFacts, per_unit: Callable[[PointEnergy], Repeated | None]) -> ModelQuantity:
    if (serving := model.serving) is None:
        return ModelQuantity()
    return ModelQuantity(serving.server, per_unit(serving.compared), serving.reason)


def _trained(model: ModelFacts, work: str) -> ModelQuantity:
    """Return a training's energy per unit of the work of this name in its ledger."""
    if (attempt := model.training) is None:
        return ModelQuantity()
    amount = attempt.work.get(work)
    if (energy := attempt.energy_on_all_hosts) is None or attempt.incomparable or not amount:
        return ModelQuantity(attempt, reason=attempt.incomparable)
    estimate = energy.scaled(1 / amount)
    return ModelQuantity(attempt, Repeated(estimate, (estimate.value,)))


QUANTITIES: Mapping[str, Callable[[ModelFacts], ModelQuantity]] = {
    "energy per request": lambda model: _served(model, lambda point: point.per_request),
    "energy per generated token": lambda model: _served(model, lambda point: point.per_token),
    "training energy per sample": lambda model: _trained(model, "samples"),
    "training energy per token": lambda model: _trained(model, "tokens"),
}


class ComparedFolder(BaseModel):
    """A results folder with the hosts and devices that served its models, as their ledgers name them."""

    folder: str
    hosts: list[str]
    devices: list[str]


class HardwareRow(BaseModel):
    """A quantity of one recipe in each folder, in the folders' order.

    `energy_J` is None where unknown, with the `reason`. `times_less` says how many times less it is than in the first
    folder. What was `measured_once` in one of them leaves out its spread between runs.
    """

    experiment: str
    recipe: str
    quantity: str
    energy_J: list[Interval | None]
    reason: list[str | None]
    times_less: list[Interval | None]
    verdict: list[Verdict | Literal["first"]]
    measured_once: bool


class HardwareComparison(BaseModel):
    """Results folders of the same experiments, compared; `greenllm compare --json` prints it."""

    results: list[ComparedFolder]
    rows: list[HardwareRow]


def across_hosts(results: Sequence[ResultsFolder]) -> HardwareComparison:
    """Return one row for each experiment, recipe and quantity of the folders.

    Errors of sensors cancel where host and sensor are the same, and add where they are not. Raises UserError where the
    folders have no experiment or recipe in common, or one of that name has other settings.
    """
    first, *others = results
    names = [name for name in first.comparisons if all(name in other.comparisons for other in others)]
    if not names:
        raise UserError(f"{_folders(results)} have no experiment in common; compare results of the same experiment")
    rows = []
    for name in names:
        recipes = [r for r in first.comparisons[name].recipes if all(r in o.comparisons[name].recipes for o in others)]
        if not recipes:
            raise UserError(
                f"experiment {name}: {_folders(results)} have no recipe in common; compare the same recipes"
            )
        for other in others:
            _require_same(first, other, name, recipes)
        rows += [row for recipe in recipes for row in _rows(results, name, recipe)]
    return HardwareComparison(results=[_named(one, names) for one in results], rows=rows)


def _folders(results: Sequence[ResultsFolder]) -> str:
    return " and ".join(str(one.folder) for one in results)


def _require_same(first: ResultsFolder, other: ResultsFolder, experiment: str, recipes: Sequence[str]) -> None:
    known, given = (dict(_settings(one, experiment, recipes)) for one in (first, other))
    for key in {**known, **given}:
        if known.get(key) != given.get(key):
            raise UserError(
                f"{other.folder}: {key} is {given.get(key)!r}, but {known.get(key)!r} in {first.folder}; "
                "only the same experiment can be compared"
            )


def _settings(results: ResultsFolder, experiment: str, recipes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each setting that decides what the experiment's jobs work on."""
    plan = results.study.plan
    section = f"experiments.{experiment}"
    own = plan.experiment(experiment)
    yield f"{section}.task", own.task
    for key in ("data", "model", "preprocess"):
        yield from _flat(f"{section}.{key}", getattr(own, key).model_dump(mode="json"))
    yield from _flat(f"{section}.evaluate", plan.evaluation(experiment).model_dump(include=set(EVALUATION)))
    yield from _flat(f"{section}.deploy", plan.deployment(experiment).model_dump(include=set(DEPLOYMENT)))
    for needed in dict.fromkeys(name for recipe in recipes for name in plan.lineage(recipe)):
        recipe = plan.recipe(needed).model_dump(mode="json", by_alias=True, exclude={"train", "recover"})
        yield from _flat(f"recipes.{needed}", recipe)
        training = plan.training(experiment, needed).model_dump(exclude={"processes"})
        yield from _flat(f"recipes.{needed}.train", training)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{prefix}.{key}", part)
    else:
        yield prefix, value


def _rows(results: Sequence[ResultsFolder], experiment: str, recipe: str) -> Iterator[HardwareRow]:
    for name, of in QUANTITIES.items():
        found = [
            {seed: of(model) for seed, model in one.comparisons[experiment].models[recipe].items()} for one in results
        ]
        reasons = [next((each.reason for each in own.values() if each.reason), None) for own in found]
        quantity = Quantity({str(place): _known(own) for place, own in enumerate(found)}, side_by_side=False)
        if not any(quantity.recipes.values()) and not any(reasons):
            continue
        ratios = [quantity.times_less("0", place) for place in quantity.recipes]
        yield HardwareRow(
            experiment=experiment,
            recipe=recipe,
            quantity=name,
            energy_J=[quantity.mean(place) for place in quantity.recipes],
            reason=[None if known else why for known, why in zip(quantity.recipes.values(), reasons, strict=True)],
            times_less=[None, *ratios[1:]],
            verdict=["first", *(verdict(ratio) for ratio in ratios[1:])],
            measured_once=any(known and quantity.spreads[place] is None for place, known in quantity.recipes.items()),
        )


def _known(found: Mapping[int, ModelQuantity]) -> BySeed:
    return {
        seed: Repeated(_on_host(measured.quantity.estimate, measured.attempt.host), measured.quantity.runs)
        for seed, measured in found.items()
        if measured.attempt and measured.quantity
    }


def _on_host(estimate: Estimate, host: str) -> Estimate:
    """Rename an estimate's parameters so that they equal another's only with the same host, name and bounds.

    One name may denote the same model on two hosts, whose errors differ, or a sensor before and after calibration.
    """
    names = {
        name: f"{name} on {host}: {parameter.value} ({parameter.low} to {parameter.high})"
        for name in estimate.terms
        if (parameter := estimate.parameters[name])
    }
    return Estimate(
        {names[name]: coefficient for name, coefficient in estimate.terms.items()},
        {names[name]: estimate.parameters[name] for name in names},
    )


def _named(results: ResultsFolder, experiments: Sequence[str]) -> ComparedFolder:
    servers = [
        model.serving.server
        for name in experiments
        for by_seed in results.comparisons[name].models.values()
        for model in by_seed.values()
        if model.serving and model.serving.server
    ]
    devices = dict.fromkeys(
        f"{part.component} {part.device or ''} ({part.method}, {part.quality})"
        for server in servers
        for part in server.known
    )
    return ComparedFolder(
        folder=str(results.folder),
        hosts=sorted({server.host for server in servers}),
        devices=[" ".join(device.split()) for device in devices],
    )
