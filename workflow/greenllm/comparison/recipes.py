"""An experiment's recipes beside its baseline: energy, quality, speed, size, cost to produce, break-even."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from greenllm.comparison.break_even import break_even
from greenllm.comparison.intervals import Interval, Quantity, interval, verdict
from greenllm.comparison.quality import Uncertain, paired_difference, quality
from greenllm.comparison.served import Point
from greenllm.comparison.spread import Repeated, Spread
from greenllm.estimate import Estimate, total
from greenllm.study.results import Key, Study
from greenllm.tasks import TASKS, Task

J_PER_Wh = 3600.0
Model = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """An experiment's models, by recipe and seed, and what follows from them for each recipe."""

    experiment: str
    study: Study
    models: Mapping[str, Mapping[int, Model]]  # recipe → seed → model

    @property
    def recipes(self) -> list[str]:
        """The recipes that are compared, in the configuration's order."""
        return self.study.config.experiments[self.experiment].recipes

    @property
    def baseline(self) -> str:
        """The recipe of that name, else the first that the experiment lists."""
        return "baseline" if "baseline" in self.recipes else self.recipes[0]

    @property
    def task(self) -> Task:
        """The experiment's task."""
        return TASKS[self.study.config.experiments[self.experiment].task]

    def measured(self, of: Callable[[Point], Repeated | None], point: int = 0) -> Quantity:
        """Return a quantity of the measurements at the `point`-th concurrency."""
        return Quantity(
            {
                recipe: {
                    seed: found
                    for seed, model in self.models[recipe].items()
                    if (serving := model["_serving"])
                    and len(serving.points) > point
                    and (found := of(serving.points[point])) is not None
                }
                for recipe in self.recipes
            }
        )

    @cached_property
    def request(self) -> Quantity:
        """The energy per request, in J."""
        return self.measured(lambda point: point.energy_per("answered"))

    @cached_property
    def produce(self) -> dict[str, dict[int, Estimate]]:
        """What each seed's model cost to produce here, in J; without a model that all started from."""
        return {
            recipe: {
                seed: model["_cost_here"]
                for seed, model in self.models[recipe].items()
                if model["_cost_here"] is not None
            }
            for recipe in self.recipes
        }

    @cached_property
    def total(self) -> Quantity:
        """The energy per request with that to produce the model spread over the expected requests, in J."""
        requests = self.study.plan.decision(self.experiment).requests
        return Quantity(
            {
                recipe: {
                    seed: found.plus(self.produce[recipe][seed].scaled(1 / requests))
                    for seed, found in by_seed.items()
                    if seed in self.produce[recipe]
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
    def differences(self) -> dict[str, Uncertain | None]:
        """Each recipe's primary metric less the baseline's, over the seeds that both have predictions of."""
        found: dict[str, Uncertain | None] = {}
        for recipe in self.recipes:
            pairs = zip(self._answers(self.baseline), self._answers(recipe), strict=True)
            both = [pair for pair in pairs if all(pair)]
            sides = ([pair[side] for pair in both] for side in (0, 1))
            found[recipe] = paired_difference(self.task, self.task.primary, *sides)
        return found

    def _answers(self, recipe: str) -> list[list[dict[str, Any]]]:
        return [self._predictions[recipe, seed] for seed in self.models[recipe]]

    @cached_property
    def _predictions(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        return {
            (recipe, seed): self.study.predictions((self.experiment, recipe, seed)) if model["quality"] else []
            for recipe in self.recipes
            for seed, model in self.models[recipe].items()
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return what is known of each recipe."""
        return [self._row(recipe) for recipe in self.recipes]

    def _row(self, recipe: str) -> dict[str, Any]:
        baseline, same = self.baseline, recipe == self.baseline
        own = list(self.models[recipe].values())
        served = [model["serving"] for model in own if model["serving"] is not None]
        factor = None if same else self.request.times_less(baseline, recipe)
        produced = {
            seed: Repeated(cost, (cost.value,))
            for seed, cost in self.produce[recipe].items()
            if not self.models[recipe][seed]["cost_to_produce"]["missing"]
        }
        accelerator = self.measured(lambda point: point.accelerator_per_request).mean(recipe)
        return {
            "recipe": recipe,
            "is_baseline": same,
            "seeds_measured": sorted(self.request.recipes[recipe]),
            "engine": _first(model["engine"] for model in own),
            "precision": _first(model["precision"] for model in own),
            "parameters": _mean(model["parameters"] for model in own),
            "model_bytes": _mean(model["model_bytes"] for model in own),
            "memory_bytes": _mean(serving["memory_bytes"] for serving in served),
            "memory_reason": _first(serving["memory_reason"] for serving in served),
            "flops_per_token": _mean(model["flops_per_token"] for model in own),
            **self._quality(recipe),
            "energy_per_request_J": self.request.mean(recipe),
            "energy_per_token_J": self.measured(lambda point: point.energy_per("completion_tokens")).mean(recipe),
            "energy_quality": _first(serving["quality"] for serving in served),
            "energy_spread": _spread(self.request, recipe),
            "times_less": factor,
            "verdict": "baseline" if same else verdict(factor),
            "curve": self._curve(recipe),
            "idle_power_W": _mean_interval(model["_serving"].idle_power for model in own if model["_serving"]),
            "accelerator_Wh_per_1000_requests": accelerator
            and {bound: joules * 1000 / J_PER_Wh for bound, joules in accelerator.items()},
            "latency_p50_s": _mean(_within(serving["latency_s"], "p50") for serving in served),
            "latency_p95_s": _mean(_within(serving["latency_s"], "p95") for serving in served),
            "requests_per_s": _mean(_within(serving["throughput"], "requests_per_s") for serving in served),
            "cost_to_produce_J": Quantity({recipe: produced}).mean(recipe),
            "total_energy_per_request_J": self.total.mean(recipe),
            "break_even_requests": None if same else break_even(self.request, self.produce, baseline, recipe),
            "reason": _first(serving["reason"] for serving in served) if served else "not deployed",
        }

    def _quality(self, recipe: str) -> dict[str, Any]:
        evaluated = [model["quality"] for model in self.models[recipe].values() if model["quality"] is not None]
        metric = self.task.primary
        written = _mean_table([found["metrics"][metric] for found in evaluated if metric in found["metrics"]])
        if len(evaluated) > 1 and (found := self.quality[recipe]) is not None:
            written = found.interval()  # the seeds' spread as well
        difference = None if recipe == self.baseline else self.differences[recipe]
        return {
            "quality": written and {"metric": metric, **written, "examples": evaluated[0]["examples"]},
            "quality_difference": difference and self._written(difference),
            "subsets": _mean_table(
                [
                    {
                        name: {**subset["metrics"], "examples": subset["examples"]}
                        for name, subset in found["subsets"].items()
                    }
                    for found in evaluated
                ]
            )
            or {},
            "hand_over": _mean_table([found["hand_over"] for found in evaluated if found["hand_over"]]),
        }

    def _written(self, difference: Uncertain) -> dict[str, Any]:
        found, several = difference.interval(), difference.seeds > 1
        return {
            **found,
            "metric": self.task.primary,
            "method": "paired bootstrap over the test examples" + (", and the variance between seeds" * several),
            "resolved": found["low"] > 0 or found["high"] < 0,
            "p_value": difference.p_value,
            "test": "t test over examples and seeds" if several else "paired permutation test over the examples",
        }

    def _curve(self, recipe: str) -> list[dict[str, Any]]:
        """Return energy and speed at each concurrency, the first one first."""
        servings = [serving for model in self.models[recipe].values() if (serving := model["_serving"])]
        curve = []
        for index in range(min((len(serving.points) for serving in servings), default=0)):
            written = [serving.points[index].written for serving in servings]
            curve.append(
                {
                    "concurrency": written[0]["concurrency"],
                    "energy_per_request_J": self.measured(lambda p: p.energy_per("answered"), index).mean(recipe),
                    "energy_per_token_J": self.measured(lambda p: p.energy_per("completion_tokens"), index).mean(
                        recipe
                    ),
                    "requests_per_s": _mean(_within(point["throughput"], "requests_per_s") for point in written),
                    "latency_p50_s": _mean(_within(point["latency_s"], "p50") for point in written),
                }
            )
        return curve


def compared(study: Study, models: Mapping[Key, Model]) -> dict[str, Comparison]:
    """Return the comparison of each experiment's recipes."""
    return {
        name: Comparison(
            name,
            study,
            {recipe: {seed: models[name, recipe, seed] for seed in experiment.seeds} for recipe in experiment.recipes},
        )
        for name, experiment in study.config.experiments.items()
    }


def _spread(quantity: Quantity, recipe: str) -> dict[str, Any] | None:
    """Return what the spread in an interval is over, with a note of what it leaves out; None without an energy."""
    if not quantity.recipes[recipe]:
        return None
    spread: Spread | None = quantity.spreads[recipe]
    if spread is None:
        note = "measured once, in one round: the interval is the sensors' alone and says nothing of how far runs differ"
        return {"over": None, "count": 1, "relative_error": None, "pooled": False, "note": note}
    note = (
        f"{spread.count} rounds of one run: how far other seeds and deployments would differ is not in the interval"
        if spread.over == "rounds"
        else f"{spread.count} seeds" + (", their variance pooled over the recipes" if spread.pooled else "")
    )
    found = {"over": spread.over, "count": spread.count, "relative_error": spread.error, "pooled": spread.pooled}
    return {**found, "note": note}


def _within(table: Mapping[str, Any] | None, name: str) -> float | None:
    return None if table is None else table.get(name)


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value), None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _mean_interval(estimates: Iterable[Estimate | None]) -> Interval | None:
    """Return the mean of estimates, their sensors' error shared; None where none is known."""
    known = [estimate for estimate in estimates if estimate is not None]
    return interval(total(known).scaled(1 / len(known))) if known else None


def _mean_table(tables: Sequence[Any]) -> Any:
    """Return the mean of tables of numbers with the same keys, level by level; None where there are none.

    All seeds answer one test set, so its error, the intervals' width, does not average out.
    """
    if not tables:
        return None
    if isinstance(tables[0], Mapping):
        names = dict.fromkeys(name for table in tables for name in table)
        return {name: _mean_table([table[name] for table in tables if name in table]) for name in names}
    return _mean(tables)
