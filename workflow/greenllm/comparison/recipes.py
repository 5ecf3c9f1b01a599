"""An experiment's recipes against its baseline: energy, quality, speed, size, cost to produce, break-even."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from greenllm.comparison.break_even import break_even
from greenllm.comparison.model import ModelFacts
from greenllm.comparison.quality import Uncertain, paired_difference, quality
from greenllm.comparison.quantity import Quantity
from greenllm.comparison.rows import (
    BreakEven,
    CurvePoint,
    Difference,
    EnergySpread,
    Factor,
    Qualifies,
    Quality,
    RecipeRow,
    TokenEnergy,
    Twin,
    Verdict,
)
from greenllm.comparison.served import Serving
from greenllm.comparison.spread import Repeated
from greenllm.comparison.token_energy import TokenEnergyUnknown, token_energy
from greenllm.documents.evaluation import HandedOver, ModelQuality
from greenllm.documents.prediction import Prediction
from greenllm.estimate import Estimate, Interval, total
from greenllm.study.results import Key, Study
from greenllm.tasks import TASKS, Task

J_PER_Wh = 3600.0
Value = TypeVar("Value")
PerWork = Literal["per_request", "per_token", "accelerator_per_request"]  # of a PointEnergy


@dataclass(frozen=True)
class Comparison:
    """An experiment's models, by recipe and seed, and what follows from them for each recipe."""

    experiment: str
    study: Study
    models: Mapping[str, Mapping[int, ModelFacts]]  # recipe → seed → model
    twins: Mapping[int, Serving] = field(default_factory=dict)  # seed → the baseline's second server

    @property
    def recipes(self) -> list[str]:
        """The recipes that are compared, in the configuration's order."""
        return self.study.config.experiments[self.experiment].recipes

    @property
    def baseline(self) -> str:
        """The recipe that others are compared with."""
        return self.study.plan.baseline(self.experiment)

    @property
    def task(self) -> Task:
        """The experiment's task."""
        return TASKS[self.study.config.experiments[self.experiment].task]

    def measured(self, name: PerWork, point: int = 0) -> Quantity:
        """Return a quantity of all servers, the twin among them, at the `point`-th concurrency."""
        if (name, point) not in self._measured:
            self._measured[name, point] = self._quantity(name, point)
        return self._measured[name, point]

    @cached_property
    def _measured(self) -> dict[tuple[PerWork, int], Quantity]:
        """Quantities by name and concurrency: all recipes' rows share them."""
        return {}

    def _quantity(self, name: PerWork, point: int) -> Quantity:
        servings = {
            recipe: {seed: one.serving for seed, one in self.models[recipe].items() if one.serving is not None}
            for recipe in self.recipes
        }
        if twin := self.study.plan.twin(self.experiment):
            servings[twin] = dict(self.twins)
        return Quantity(
            {
                server: {
                    seed: found
                    for seed, serving in by_seed.items()
                    if len(serving.points) > point and (found := getattr(serving.points[point], name)) is not None
                }
                for server, by_seed in servings.items()
            }
        )

    @cached_property
    def request(self) -> Quantity:
        """The energy per request, in J."""
        return self.measured("per_request")

    @cached_property
    def twin(self) -> Twin | None:
        """How far two servers of the baseline differ; None where it was served once."""
        name = self.study.plan.twin(self.experiment)
        if name is None:
            return None
        found, wide = (self.request.against_itself(self.baseline, name, confidence) for confidence in (0.95, 0.99))
        ratio = self.request.log_ratio(self.baseline, name)
        spread = ratio.starts if ratio else None
        reason = None
        if found is None:
            reason = _first(one.reason for one in self.twins.values()) or self._why_not_served(name, self.baseline)
        return Twin(
            name=name,
            times_less=found,
            times_less_99=wide,
            steady=wide is None or spread is None or wide.low <= 1 <= wide.high,
            resolvable=math.expm1(spread.half) if spread else None,
            reason=reason,
        )

    def factor(self, before: str, after: str) -> Factor:
        """Return what the change from one recipe to another saves."""
        found = self.request.times_less(before, after)
        sides = [self._gpus(recipe) for recipe in (before, after)]
        device = None not in sides and (sides[0] == 0) != (sides[1] == 0)
        change = self.study.plan.changes(before, after, device=device)
        resolved = self.verdict(self.request.verdict(before, after))
        return Factor(change=change, before=before, after=after, times_less=found, verdict=resolved)

    def verdict(self, raw: Verdict) -> Verdict:
        """Return a verdict; where the host was not steady, none can be given."""
        unsteady = self.twin is not None and not self.twin.steady
        return "not resolvable" if unsteady and raw in ("saves", "loss") else raw

    def _gpus(self, recipe: str) -> int | None:
        measured = [model.serving.measurement for model in self.models[recipe].values() if model.serving]
        return measured[0].gpus if measured else None

    @cached_property
    def produce(self) -> dict[str, dict[int, Estimate]]:
        """What each seed's model cost to produce here, in J, without the training of a model that all started from.

        Without recipes whose jobs a plan has put on other devices than the baseline's.
        """
        return {
            recipe: {
                seed: cost
                for seed, model in self.models[recipe].items()
                if (cost := model.cost.here) is not None and not self.placed_apart(recipe)
            }
            for recipe in self.recipes
        }

    def placed_apart(self, recipe: str) -> list[str]:
        """Return the devices on which a plan has put the jobs of a recipe and of the baseline, if these differ.

        The energies to produce the two are then not compared.
        """
        own, baseline = self.models[recipe], self.models[self.baseline]
        found = (own[seed].cost.placed_apart(baseline[seed].cost) for seed in own if seed in baseline)
        return sorted({device for devices in found for device in devices})

    @cached_property
    def total(self) -> Quantity:
        """The energy per request plus that to produce the model divided by the expected requests, in J."""
        requests = self.study.plan.decision(self.experiment).requests
        return Quantity(
            {
                recipe: {
                    seed: found.plus(self.produce[recipe][seed].scaled(1 / requests))
                    for seed, found in by_seed.items()
                    if seed in self.produce.get(recipe, {})
                }
                for recipe, by_seed in self.request.recipes.items()
            }
        )

    @cached_property
    def quality(self) -> dict[str, Uncertain | None]:
        """Each recipe's primary metric; None where no seed has predictions."""
        return {
            recipe: quality(self.task, self.task.primary, [answers for answers in self._answers(recipe) if answers])
            for recipe in self.recipes
        }

    @cached_property
    def chance(self) -> float | None:
        """The primary metric of a model that ignores its input; None where nothing was predicted."""
        answers = next((found for recipe in self.recipes for found in self._answers(recipe) if found), None)
        return self.task.chance(answers) if answers else None

    @cached_property
    def differences(self) -> dict[str, Uncertain | None]:
        """Each recipe's primary metric minus the baseline's, over the seeds for which both have predictions."""
        found: dict[str, Uncertain | None] = {}
        for recipe in self.recipes:
            pairs = zip(self._answers(self.baseline), self._answers(recipe), strict=True)
            both = [pair for pair in pairs if all(pair)]
            sides = ([pair[side] for pair in both] for side in (0, 1))
            found[recipe] = paired_difference(self.task, self.task.primary, *sides)
        return found

    def _answers(self, recipe: str) -> list[list[Prediction]]:
        return [self._predictions[recipe, seed] for seed in self.models[self.baseline]]

    @cached_property
    def _predictions(self) -> dict[tuple[str, int], list[Prediction]]:
        return {
            (recipe, seed): self.study.predictions((self.experiment, recipe, seed)) if model.quality else []
            for recipe in self.recipes
            for seed, model in self.models[recipe].items()
        }

    def row(self, recipe: str, qualifies: Qualifies, on_front: bool) -> RecipeRow:
        """Return what is known of a recipe, and what was decided about it."""
        same, own = recipe == self.baseline, list(self.models[recipe].values())
        servings = [model.serving for model in own if model.serving is not None]
        evaluated = self._evaluated(recipe)
        factor = None if same else self.request.times_less(self.baseline, recipe)
        raw = self.request.verdict(self.baseline, recipe)
        accelerator = self.measured("accelerator_per_request").mean(recipe)
        by_token, no_token_energy = self._token_energy(recipe)
        return RecipeRow(
            recipe=recipe,
            is_baseline=same,
            is_control=self.study.plan.is_control(self.experiment, recipe),
            seeds_measured=sorted(self.request.recipes[recipe]),
            threads=_first(serving.measurement.threads for serving in servings),
            engine=_first(model.engine for model in own),
            precision=_first(model.precision for model in own),
            parameters=_mean(model.parameters for model in own),
            model_bytes=_mean(model.model_bytes for model in own),
            memory_bytes=_mean(serving.measurement.memory_bytes for serving in servings),
            memory_reason=_first(serving.measurement.memory_reason for serving in servings),
            flops_per_token=_mean(model.flops_per_token for model in own),
            quality=self.quality_of(recipe),
            quality_difference=self._difference(recipe),
            subsets=_mean_subsets(evaluated),
            hand_over=_mean_hand_over(evaluated),
            energy_per_request_J=self.request.mean(recipe),
            energy_per_token_J=self.measured("per_token").mean(recipe),
            energy_quality=_first(serving.quality for serving in servings),
            energy_spread=_spread(self.request, recipe),
            times_less=factor,
            verdict="baseline" if same else self.verdict(raw),
            verdict_as_measured="baseline" if same else raw,
            parts=[self.factor(*pair) for pair in itertools.pairwise(self.study.plan.path(self.experiment, recipe))],
            curve=self._curve(recipe),
            idle_power_W=_mean_interval(serving.idle_power for serving in servings),
            accelerator_Wh_per_1000_requests=accelerator
            and Interval(*(joules * 1000 / J_PER_Wh for joules in accelerator)),
            latency_p50_s=_mean(serving.compared.written.latency_s.p50 for serving in servings),
            latency_p95_s=_mean(serving.compared.written.latency_s.p95 for serving in servings),
            requests_per_s=_mean(serving.compared.written.throughput.requests_per_s for serving in servings),
            cost_to_produce_J=self._whole_cost(recipe).mean(recipe),
            total_energy_per_request_J=self.total.mean(recipe),
            placed_apart=self.placed_apart(recipe),
            break_even_requests=None if same or raw != self.verdict(raw) else self._break_even(recipe),
            reason=_first(serving.reason for serving in servings) if servings else self._why_not_served(recipe),
            qualifies=qualifies,
            on_front=on_front,
            token_energy=by_token,
            token_energy_reason=no_token_energy,
        )

    def _token_energy(self, recipe: str) -> tuple[TokenEnergy | None, str | None]:
        """Return what a token of a recipe takes, or why that is unknown."""
        models = self.models[recipe].items()
        points = {seed: model.serving.compared for seed, model in models if model.serving is not None}
        if not points:
            return None, None
        try:
            return token_energy(points), None
        except TokenEnergyUnknown as unknown:
            return None, str(unknown)

    def _break_even(self, recipe: str) -> BreakEven | None:
        return break_even(self.request, self.produce, self.baseline, recipe)

    def _why_not_served(self, *servers: str) -> str:
        keys = [(self.experiment, server, seed) for server in servers for seed in self.models[self.baseline]]
        measured = [self.study.measurement(key) for key in keys]
        return _first(one.failure for one in measured if one is not None) or "not measured"

    def _whole_cost(self, recipe: str) -> Quantity:
        """Return what a recipe's models cost to produce, in J, for the seeds for which it is known completely."""
        costs = {seed: model.cost for seed, model in self.models[recipe].items()}
        known = {seed: cost.here for seed, cost in costs.items() if cost.here is not None and not cost.missing}
        return Quantity({recipe: {seed: Repeated(cost, (cost.value,)) for seed, cost in known.items()}})

    def _evaluated(self, recipe: str) -> list[ModelQuality]:
        return [found for model in self.models[recipe].values() if (found := model.quality) is not None]

    def quality_of(self, recipe: str) -> Quality | None:
        """Return a recipe's primary metric; None where it was not evaluated."""
        evaluated, metric = self._evaluated(recipe), self.task.primary
        written = _mean_of_intervals([found.metrics[metric] for found in evaluated if metric in found.metrics])
        if len(evaluated) > 1 and (uncertain := self.quality[recipe]) is not None:
            written = uncertain.interval()  # holds the spread between seeds as well
        return written and Quality(metric=metric, **written.to_json(), examples=evaluated[0].examples)

    def _difference(self, recipe: str) -> Difference | None:
        """Return the recipe's primary metric minus the baseline's; None if it is unknown."""
        if recipe == self.baseline or (difference := self.differences[recipe]) is None:
            return None
        found, several = difference.interval(), difference.seeds > 1
        return Difference(
            **found.to_json(),
            metric=self.task.primary,
            method="paired bootstrap over the test examples" + (", and the variance between seeds" * several),
            resolved=found.low > 0 or found.high < 0,
            p_value=difference.p_value,
            test="t test over examples and seeds" if several else "paired permutation test over the examples",
        )

    def _curve(self, recipe: str) -> list[CurvePoint]:
        """Return energy and speed at each concurrency, in the configuration's order."""
        servings = [model.serving for model in self.models[recipe].values() if model.serving]
        curve = []
        for index in range(min((len(serving.points) for serving in servings), default=0)):
            written = [serving.points[index].written for serving in servings]
            curve.append(
                CurvePoint(
                    concurrency=written[0].concurrency,
                    energy_per_request_J=self.measured("per_request", index).mean(recipe),
                    energy_per_token_J=self.measured("per_token", index).mean(recipe),
                    requests_per_s=_mean(point.throughput.requests_per_s for point in written),
                    latency_p50_s=_mean(point.latency_s.p50 for point in written),
                )
            )
        return curve


def compared(
    study: Study, models: Mapping[Key, ModelFacts], twins: Mapping[tuple[str, int], Serving]
) -> dict[str, Comparison]:
    """Return the comparison of each experiment's recipes; `twins` by experiment and seed."""
    return {
        name: Comparison(
            name,
            study,
            {recipe: {seed: models[name, recipe, seed] for seed in experiment.seeds} for recipe in experiment.recipes},
            {seed: twins[name, seed] for seed in experiment.seeds if (name, seed) in twins},
        )
        for name, experiment in study.config.experiments.items()
    }


def _spread(quantity: Quantity, recipe: str) -> EnergySpread | None:
    """Return what the spread in an interval includes, with a note of what it leaves out; None without an energy."""
    if not quantity.recipes[recipe]:
        return None
    if (spread := quantity.spreads[recipe]) is None:
        note = "measured once, in one round: the interval is the sensors' alone and says nothing of how far runs differ"
        return EnergySpread(over=None, count=1, relative_error=None, pooled=False, note=note)
    note = {
        "starts": f"{spread.count} starts of the server: how far models of other seeds would differ is not included",
        "rounds": f"{spread.count} rounds of one start: how far other starts and seeds would differ is not included",
        "seeds": f"{spread.count} seeds" + (", their variance pooled over the recipes" if spread.pooled else ""),
    }[spread.over]
    return EnergySpread(
        over=spread.over, count=spread.count, relative_error=spread.error, pooled=spread.pooled, note=note
    )


def _first(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value), None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _mean_interval(estimates: Iterable[Estimate | None]) -> Interval | None:
    """Return the mean of estimates, which share their sensors' errors; None if all are unknown."""
    known = [estimate for estimate in estimates if estimate is not None]
    return total(known).scaled(1 / len(known)).interval() if known else None


def _mean_of_intervals(intervals: Sequence[Interval]) -> Interval | None:
    """Return the mean of intervals, of their values and of their bounds; None where there are none.

    All seeds answer one test set, so its error, the intervals' width, does not average out.
    """
    return Interval(*(sum(column) / len(intervals) for column in zip(*intervals, strict=True))) if intervals else None


def _mean_metrics(tables: Sequence[Mapping[str, Interval]]) -> dict[str, Interval]:
    """Return the mean of each metric over the tables that have it."""
    names = dict.fromkeys(name for table in tables for name in table)
    means = {name: _mean_of_intervals([table[name] for table in tables if name in table]) for name in names}
    return {name: mean for name, mean in means.items() if mean is not None}


def _mean_subsets(evaluated: Sequence[ModelQuality]) -> dict[str, dict[str, Interval | float]]:
    """Return the mean quality on each kind of example, with the number of examples."""
    means: dict[str, dict[str, Interval | float]] = {}
    for kind in dict.fromkeys(kind for found in evaluated for kind in found.subsets):
        own = [found.subsets[kind] for found in evaluated if kind in found.subsets]
        examples = sum(subset.examples for subset in own) / len(own)
        means[kind] = {**_mean_metrics([subset.metrics for subset in own]), "examples": examples}
    return means


def _mean_hand_over(evaluated: Sequence[ModelQuality]) -> HandedOver | None:
    """Return the mean quality of the answers not handed over to a person; None if no confidence is known."""
    found = [quality.hand_over for quality in evaluated if quality.hand_over]
    coverage = _mean_of_intervals([one.coverage for one in found])
    return coverage and HandedOver(
        threshold=sum(one.threshold for one in found) / len(found),
        coverage=coverage,
        examples=sum(one.examples for one in found) / len(found),
        metrics=_mean_metrics([one.metrics for one in found]),
    )
