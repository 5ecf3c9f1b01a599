"""The axis of hardware: the same experiment on several hosts or devices, per unit of work."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from greenllm.account.saved import Results
from greenllm.comparison.intervals import Quantity, verdict
from greenllm.comparison.spread import BySeed, Repeated
from greenllm.errors import UserError
from greenllm.estimate import Estimate
from greenllm.footprint.standing import Attempt

# What decides how much work a unit of work is. How exactly it is measured, and on which resources, may differ.
EVALUATION, DEPLOYMENT = ("rows", "max_tokens"), ("concurrency", "rate_per_s", "batch", "requests")
QUANTITIES = {  # what is compared → of which stage, the name of its work there
    "energy per request": ("serve", "answered"),
    "energy per generated token": ("serve", "completion_tokens"),
    "training energy per sample": ("train", "samples"),
    "training energy per token": ("train", "tokens"),
}


def side_by_side(results: Sequence[Results]) -> dict[str, Any]:
    """Return {results: [{folder, hosts, devices}], rows}, one row an experiment, recipe and quantity, in J.

    A row holds {value, low, high} or null (with its `reason`) for each folder in `energy_J`, and in `times_less` how
    many times less than on the first it is, with `verdict` ("saves", "loss", "not resolvable", "unknown") for each.
    Errors of sensors cancel where host and sensor are the same, and add where they are not; what was `measured_once` on
    each leaves out how far runs differ. Raises UserError where the folders have no experiment or recipe in common, or
    one of that name has other settings.
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
    return {"results": [_named(one, names) for one in results], "rows": rows}


def _folders(results: Sequence[Results]) -> str:
    return " and ".join(str(one.folder) for one in results)


def _require_same(first: Results, other: Results, experiment: str, recipes: Sequence[str]) -> None:
    known, given = (dict(_settings(one, experiment, recipes)) for one in (first, other))
    for key in {**known, **given}:
        if known.get(key) != given.get(key):
            raise UserError(
                f"{other.folder}: {key} is {given.get(key)!r}, but {known.get(key)!r} in {first.folder}; "
                "only the same experiment can be compared"
            )


def _settings(results: Results, experiment: str, recipes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield key and value of all that decides what the experiment's jobs work on."""
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


def _rows(results: Sequence[Results], experiment: str, recipe: str) -> Iterator[dict[str, Any]]:
    for name, (stage, work) in QUANTITIES.items():
        found = {str(place): _by_seed(one, experiment, recipe, stage, work) for place, one in enumerate(results)}
        reasons = [_why_unknown(one, experiment, recipe, stage) for one in results]
        if not any(found.values()) and not any(reasons):
            continue
        quantity = Quantity(found)
        ratios = [quantity.times_less("0", place) for place in found]
        yield {
            "experiment": experiment,
            "recipe": recipe,
            "quantity": name,
            "energy_J": [quantity.mean(place) for place in found],
            "reason": [None if by_seed else why for by_seed, why in zip(found.values(), reasons, strict=True)],
            "times_less": [None, *ratios[1:]],
            "verdict": ["first", *(verdict(ratio) for ratio in ratios[1:])],
            "measured_once": all(spread is None for spread in quantity.spreads.values()),
        }


def _why_unknown(results: Results, experiment: str, recipe: str, stage: str) -> str | None:
    """Return why a stage's energy can't be compared, None where it can, or where the stage has not run."""
    for model in results.comparisons[experiment].models[recipe].values():
        serving, trained = model["_serving"], model["_training"]
        why: str | None = (serving and serving.reason) if stage == "serve" else (trained and trained.incomparable)
        if why:
            return why
    return None


def _by_seed(results: Results, experiment: str, recipe: str, stage: str, work: str) -> BySeed:
    found = {}
    for seed, model in results.comparisons[experiment].models[recipe].items():
        if stage == "serve":
            serving = model["_serving"]
            attempt, quantity = serving and serving.server, serving and serving.compared.energy_per(work)
        else:
            attempt, quantity = model["_training"], _trained(model["_training"], work)
        if attempt is not None and quantity is not None:
            found[seed] = Repeated(_on_host(quantity.estimate, attempt.host), quantity.runs)
    return found


def _trained(attempt: Attempt | None, work: str) -> Repeated | None:
    """Return a training's energy per unit of its work; None where unknown."""
    amount = attempt and attempt.work.get(work)
    if attempt is None or attempt.energy_J is None or attempt.incomparable or not amount:
        return None
    estimate = attempt.energy_J.scaled(1 / amount)
    return Repeated(estimate, (estimate.value,))


def _on_host(estimate: Estimate, host: str) -> Estimate:
    """Return an estimate whose parameters are the same as another's only with the same host, name and bounds.

    One name may stand for the same model on two hosts, whose errors differ, or for a sensor before and after it was
    calibrated.
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


def _named(results: Results, experiments: Sequence[str]) -> dict[str, Any]:
    """Return a results folder with the hosts and devices that served its models, as their ledgers name them."""
    servers = [
        serving.server
        for name in experiments
        for by_seed in results.comparisons[name].models.values()
        for model in by_seed.values()
        if (serving := model["_serving"]) and serving.server
    ]
    devices = {
        f"{part['component']} {part.get('device') or ''} ({part['method']}, {part['quality']})": None
        for server in servers
        for part in server.components
        if part["energy_J"] is not None and part["component"] != "platform"
    }
    return {
        "folder": str(results.folder),
        "hosts": sorted({server.host for server in servers}),
        "devices": [" ".join(device.split()) for device in devices],
    }
