"""Simulated experiments with a known truth: intervals cover it as often as they claim, and are hardly too wide.

The "ideal" interval (95 %) is computed from the true variances: 1.96 standard deviations of the estimator to either
side. Each test runs 1,000 experiments through the public functions, with the sample sizes of the configuration: 10
rounds in a deployment, and 1 or 5 seeds.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from predicted import predicted

from greenllm.comparison.quality import paired_difference
from greenllm.comparison.quantity import Quantity
from greenllm.comparison.spread import Repeated
from greenllm.config.models import EmbeddedData
from greenllm.documents.prediction import Prediction
from greenllm.estimate import Estimate, Interval, Parameter, total
from greenllm.tasks.task import Sums, Task, exactly_right, mean_of

EXPERIMENTS, ROUNDS, SEEDS = 1000, 10, 5
ENERGY_J = 0.3  # of a request


class Tally:
    """How often intervals include the truth, or are entirely above or below it, and their width over the ideal."""

    def __init__(self, truth: float, deviation: float) -> None:
        self.truth, self.ideal = truth, 2 * 1.96 * deviation
        self.rows: list[tuple[bool, bool, bool, float]] = []

    def add(self, found: Interval | None) -> None:
        assert found is not None
        low, high = found.low, found.high
        self.rows.append((low <= self.truth <= high, low > self.truth, high < self.truth, (high - low) / self.ideal))

    def __getattr__(self, name: str) -> float:
        means = np.array(self.rows, dtype=float).mean(axis=0)
        return float(dict(zip(("covered", "above", "below", "width"), means, strict=True))[name])


def experiments(
    recipes: int, seeds: int, *, sensor: float, between: float, rounds: float = 0.05, shared: float = 0.0
) -> Iterator[Quantity]:
    """Yield experiments in which all recipes truly take ENERGY_J a request.

    All figures are relative standard deviations: of the sensor's gain, of seeds' models and deployments, of rounds, and
    of the part of a seed's effect that all recipes share.
    """
    random = np.random.default_rng(7)
    for _ in range(EXPERIMENTS):
        gain = 1 + sensor * random.standard_normal()
        parameters = {"gain": Parameter(1, 1 - 1.96 * sensor, 1 + 1.96 * sensor, "1", "simulated")}
        alike = shared * random.standard_normal(seeds)
        own = between * random.standard_normal((recipes, seeds))
        noise = rounds * random.standard_normal((recipes, seeds, ROUNDS))
        read_J = ENERGY_J / gain * np.exp(alike[:, None] + own[:, :, None] + noise)

        def repeated(runs: Any, parameters: dict[str, Parameter] = parameters) -> Repeated:
            energies = [Estimate({"gain": float(run)}, parameters) for run in runs]
            return Repeated(
                total(energies).scaled(1 / ROUNDS), tuple(energy.value for energy in energies), tuple(range(ROUNDS))
            )

        yield Quantity({str(name): dict(enumerate(map(repeated, read_J[name]))) for name in range(recipes)})


def tallied(recipes: int, seeds: int, sensor: float, between: float, shared: float = 0.0) -> tuple[Tally, Tally]:
    """Return the tallies of one recipe's energy per request and of the ratio of two."""
    own = (between**2 + 0.05**2 / ROUNDS) / seeds
    energy = Tally(ENERGY_J, ENERGY_J * math.sqrt(own + shared**2 / seeds + sensor**2))
    ratio = Tally(1.0, math.sqrt(2 * own))
    for quantity in experiments(recipes, seeds, sensor=sensor, between=between, shared=shared):
        energy.add(quantity.mean("0"))
        ratio.add(quantity.times_less("0", "1"))
    return energy, ratio


@pytest.mark.parametrize(
    ("recipes", "seeds", "sensor", "between"),
    [(2, 1, 0.0, 0.0), (2, 1, 0.03, 0.0), (2, SEEDS, 0.0, 0.03), (5, SEEDS, 0.03, 0.03)],
)
def test_energy_and_its_ratio(recipes: int, seeds: int, sensor: float, between: float) -> None:
    energy, ratio = tallied(recipes, seeds, sensor, between)
    assert energy.covered >= 0.93
    assert energy.width <= 1.2
    assert ratio.covered >= 0.93
    # With several seeds pairs are compared, of which two recipes have few: see the next test.
    assert ratio.width <= (1.5 if recipes == 2 and seeds > 1 else 1.2)
    assert ratio.above <= 0.05, "the same energy, called saving"


def test_where_seeds_move_both_recipes_alike_pairs_are_compared() -> None:
    """Five pairs leave 4 degrees of freedom: t(0.975, 4) E[s] / 1.96 sigma = 1.33 is the least; 1.46 is reached."""
    _, ratio = tallied(recipes=2, seeds=SEEDS, sensor=0.0, between=0.01, shared=0.1)
    assert ratio.covered >= 0.93
    assert ratio.width <= 1.5
    assert ratio.above <= 0.05


class Right(Task):
    """A task with one metric."""

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        raise NotImplementedError

    def sums(self, answers: Sequence[Prediction]) -> dict[str, Sums]:
        return {"accuracy": mean_of(exactly_right(answers))}


@pytest.mark.parametrize(("seeds", "examples", "between"), [(1, 200, 0.0), (SEEDS, 150, 0.0), (SEEDS, 150, 0.04)])
def test_difference_in_quality(seeds: int, examples: int, between: float) -> None:
    """Two recipes that are equally good, on new examples and with new seeds in each experiment.

    A model is right where its strength exceeds the example's difficulty. Seven of ten examples are as difficult for all
    models, another two for the models of one recipe. `between` is the standard deviation of a seed's accuracy.
    """
    random = np.random.default_rng(11)
    task, found, p_values = Right(), [], []
    rows = [[predicted("yes", given, id=str(row)) for given in ("no", "yes")] for row in range(examples)]
    for _ in range(EXPERIMENTS):
        who, shape = random.random(examples), (2, seeds, examples)
        alike, apart = random.random((2, 1, examples)), random.random(shape)
        difficulty = np.where(who < 0.7, random.random(examples), np.where(who < 0.9, alike, apart))
        strength = 0.85 + between * random.standard_normal((2, seeds, 1))
        baseline, recipe = (
            [[row[right] for row, right in zip(rows, model, strict=True)] for model in of_recipe]
            for of_recipe in (difficulty < strength).tolist()
        )
        difference = paired_difference(task, "accuracy", baseline, recipe)
        assert difference is not None
        found.append(difference.interval())
        p_values.append(difference.p_value)
    tally = Tally(0.0, float(np.std([interval.value for interval in found])))
    for interval in found:
        tally.add(interval)
    assert tally.covered >= 0.93
    assert tally.width <= 1.2
    assert tally.above <= 0.05
    assert tally.below <= 0.05
    assert np.mean(np.array(p_values) < 0.05) <= 0.06
