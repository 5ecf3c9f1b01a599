"""Grams for each functional unit: SCI (ISO/IEC 21031), and the two scores of SCI for AI."""

from collections.abc import Iterator, Sequence

from greenllm.account.consumed import Consumed
from greenllm.account.footprint_document import PerUnit, Score
from greenllm.comparison.rows import ModelRow
from greenllm.estimate import PartialInterval
from greenllm.footprint.consequences import Consequences, ImpactModel, together

SERVING = ("measure", "serve", "load", "probe")  # stages that operate a model, or measure its operation


def per_unit(found: Consequences, unknown: Sequence[str], unit: str, units: float) -> PerUnit:
    """Return grams for each unit of what was done. It is no SCI where a part of energy or hardware is unknown."""
    lacks = list(unknown)
    if found.carbon_g is None and found.carbon_it_g is None:
        lacks.append("the carbon of the electricity is unknown")
    elif found.carbon_g is None:
        lacks.append("the PUE is unknown: operations are those of the IT equipment alone")
    if found.embodied_g is None and not any(reason.startswith("embodied") for reason in lacks):
        lacks.append("the embodied carbon is unknown")
    return PerUnit(
        unit=unit.removesuffix("s"),
        units=units,
        is_sci=not lacks,
        value_g=None if lacks else _over(found.total_g, units),
        operational_g=_over(found.carbon_g or found.carbon_it_g, units),
        embodied_g=_over(found.embodied_g, units),
        lacks=lacks,
    )


def _over(found: PartialInterval | None, units: float) -> PartialInterval | None:
    if found is None:
        return None
    low, high = (None if bound is None else bound / units for bound in (found.low, found.high))
    return PartialInterval(found.value / units, low, high)


def scores(consumed: Consumed, model: ImpactModel) -> Iterator[Score]:
    """Return the scores of SCI for AI (Green Software Foundation, December 2025), for each recipe."""
    for name, experiment in consumed.account.experiments.items():
        for recipe in experiment.comparison.recipes:
            models = consumed.models[name, recipe.recipe]
            request = consumed.request(name, recipe)
            if request is not None:
                found = next(model.consequences([request]))
                per_request = {"requests": 1.0, "tokens": _tokens_per_request(models)}
                for unit, units in per_request.items():
                    if units:
                        score = per_unit(found, request.unknown, unit, units)
                        yield Score(
                            experiment=name,
                            recipe=recipe.recipe,
                            score="consumer",
                            boundary="operation: the server while it answers, without its idle time",
                            **dict(score),
                        )
            yield from _provider_scores(name, recipe.recipe, models, consumed, model)


def _tokens_per_request(models: Sequence[ModelRow]) -> float | None:
    served = [one.serving for one in models if one.serving and one.serving.completion_tokens and one.serving.answered]
    if not served:
        return None
    return sum((one.completion_tokens or 0) / one.answered for one in served) / len(served)


def _provider_scores(
    name: str, recipe: str, models: Sequence[ModelRow], consumed: Consumed, model: ImpactModel
) -> Iterator[Score]:
    """Return what providing a model took, for each unit that the specification allows.

    Gross: all attempts at its stages, and those that serve all recipes of the experiment, the wasted ones included.
    """
    chain = {recipe}.union(*(one.chain for one in models))
    rows = [(row, own) for row, own in consumed.of_recipes(name, [None, *chain]) if row.rule not in SERVING]
    made = together([own for _, own in rows])
    trained = [row for row, _ in rows if row.rule == "train" and row.standing == "current"]
    units = {
        "training tokens": sum(float(row.work.get("tokens") or 0) for row in trained),
        "FLOPs": sum(float(row.work.get("flops") or 0) for row in trained),
        "billion parameters": sum(float(one.parameters or 0) for one in models) / 1e9,
    }
    found = next(model.consequences([made]))
    for unit, amount in units.items():
        if amount and made.host is not None:
            yield Score(
                experiment=name,
                recipe=recipe,
                score="provider",
                boundary="design and development: all attempts at the stages that made the model, wasted ones included",
                **dict(per_unit(found, made.unknown, unit, amount)),
            )
