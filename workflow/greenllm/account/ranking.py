"""Recipes in service, ranked by energy, carbon or cost: as the site is, and over the ranges of its factors.

A request's energy is that under load, the model's making divided among the expected requests, and, at fewer requests a
day, the server's idle power between them. Its carbon is that of the electricity, and the embodied carbon of what is
reserved meanwhile.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from greenllm.account.footprint_document import Measure, Stretch, Sweep
from greenllm.footprint import formulas
from greenllm.footprint.draws import Drawn

SECONDS_PER_DAY = 86400.0
STEPS = 60  # of a factor's range
SURE = 0.95


@dataclass(frozen=True)
class FactorRange:
    """The range over which a factor is varied, and why that one."""

    factor: str
    unit: str
    low: float
    high: float
    why: str


GRID = FactorRange(
    "grid carbon", "gCO2e/kWh", 10, 1000,
    "from wind and nuclear power (11 and 12) to coal (820, at most 910): IPCC AR5, WG III, Annex III, Table A.III.2",
)  # fmt: skip
PUE = FactorRange("PUE", "kWh/kWh", 1.0, 2.5, "from no overhead to a small server room")
EMBODIED = FactorRange("embodied carbon", "times the value", 1 / 3, 3, "published values of one card differ 3.5-fold")
PRICE = FactorRange("price", "times the value", 0.1, 10, "all prices of electricity above zero")
LOAD = "number of requests a day"


@dataclass(frozen=True)
class Point:
    """Where recipes are compared; None is as it is: the site's factor, or a server that is always busy."""

    grid: float | None = None
    pue: float | None = None
    embodied: float = 1.0
    price: float = 1.0
    per_day: float | None = None


@dataclass(frozen=True)
class Option:
    """A recipe in service: draws of its energy (J) and embodied carbon (g) for each request, and of its idle power (W).

    `made` is what its model took to be made: energy and embodied carbon. `busy_s` is the time that a request takes of
    the server, `held_g_per_s` the embodied carbon of what it holds. None is unknown.
    """

    recipe: str
    request_J: Drawn
    embodied_g: Drawn | None
    idle_W: Drawn | None
    busy_s: float | None
    held_g_per_s: Drawn | None
    made_J: Drawn | None
    made_g: Drawn | None


@dataclass(frozen=True)
class Ranking:
    """The recipes of an experiment that may be deployed, and the site's factors."""

    options: Sequence[Option]
    requests: float
    grid: Drawn | None
    pue: Drawn | None
    price: Drawn | None
    with_embodied: bool

    def idle_s(self, option: Option, per_day: float | None) -> float | None:
        """Return how long the server is idle for each request; None where its speed or idle power is unknown."""
        if per_day is None:
            return 0.0
        if option.busy_s is None or option.idle_W is None:
            return None
        return max(0.0, SECONDS_PER_DAY / per_day - option.busy_s)

    def energy_J(self, option: Option, point: Point, made: bool = True) -> Drawn | None:
        """Return the energy of a request; with its part of making the model, if `made`."""
        idle_s = self.idle_s(option, point.per_day)
        if idle_s is None or (made and option.made_J is None):
            return None
        energy = option.request_J
        if idle_s and option.idle_W is not None:
            energy = energy + option.idle_W * idle_s
        return energy + option.made_J / self.requests if made and option.made_J is not None else energy

    def site_kWh(self, option: Option, point: Point, made: bool = True) -> Drawn | None:
        """Return the energy of the site; of the IT equipment where the PUE is unknown, which ranks recipes alike."""
        energy = self.energy_J(option, point, made)
        pue = self.pue if point.pue is None else point.pue
        return energy and formulas.site_energy(energy, 1.0 if pue is None else pue) / formulas.J_PER_kWh

    def carbon_g(self, option: Option, point: Point, made: bool = True) -> Drawn | None:
        """Return the carbon of a request."""
        grid = self.grid if point.grid is None else point.grid
        energy = self.site_kWh(option, point, made)
        if energy is None or grid is None:
            return None
        carbon = formulas.operational_g(energy, grid)
        if not self.with_embodied or option.embodied_g is None:
            return carbon
        embodied = option.embodied_g
        if (idle_s := self.idle_s(option, point.per_day)) and option.held_g_per_s is not None:
            embodied = embodied + option.held_g_per_s * idle_s
        if made and option.made_g is not None:
            embodied = embodied + option.made_g / self.requests
        return carbon + embodied * point.embodied

    def cost(self, option: Option, point: Point, made: bool = True) -> Drawn | None:
        """Return what the electricity of a request costs."""
        energy = self.site_kWh(option, point, made)
        return None if energy is None or self.price is None else formulas.cost(energy, self.price) * point.price

    def of(self, measure: Measure) -> Callable[..., Drawn | None]:
        """Return the function that computes a measure."""
        functions: Mapping[Measure, Callable[..., Drawn | None]] = {
            "energy": self.energy_J,
            "carbon": self.carbon_g,
            "cost": self.cost,
        }
        return functions[measure]

    @cached_property
    def _central(self) -> "Ranking":
        """The same without draws: values alone."""
        options = [
            replace(option, **{name: _central(drawn) for name, drawn in vars(option).items()})
            for option in self.options
        ]
        grid, pue, price = (_central(one) for one in (self.grid, self.pue, self.price))
        return replace(self, options=options, grid=grid, pue=pue, price=price)

    def best(self, measure: Measure, point: Point) -> str | None:
        """Return the recipe with the least value; None where that of one is unknown."""
        function, options = self._central.of(measure), self._central.options
        values = {option.recipe: float(one.value[0]) for option in options if (one := function(option, point))}
        return min(values, key=values.__getitem__) if len(values) == len(options) else None

    def sure(self, measure: Measure, point: Point, recipe: str) -> float:
        """Return the share of draws in which a recipe has the least value."""
        found = [one.draws[0] for option in self.options if (one := self.of(measure)(option, point)) is not None]
        place = [option.recipe for option in self.options].index(recipe)
        return float(np.mean(np.argmin(np.stack(found), axis=0) == place))

    def sweep(self, measure: Measure, factor: FactorRange, at: Callable[[float], Point], recipe: str) -> Sweep | None:
        """Return the ranking over a factor's range; None where a value is unknown."""
        values = np.geomspace(factor.low, factor.high, STEPS)
        best = [self.best(measure, at(value)) for value in values]
        if any(one is None for one in best):
            return None
        stretches = [Stretch(recipe=best[0] or "", low=factor.low, high=factor.high)]
        for (before, first), (after, second) in itertools.pairwise(zip(values, best, strict=True)):
            if first != second:
                turn = self._turn(measure, at, before, after)
                stretches[-1] = stretches[-1].model_copy(update={"high": turn})
                stretches.append(Stretch(recipe=second or "", low=turn, high=factor.high))
        holds = all(one.recipe == recipe for one in stretches)
        sure = min(self.sure(measure, at(value), recipe) for value in values[:: STEPS // 10])
        return Sweep(
            measure=measure,
            factor=factor.factor,
            unit=factor.unit,
            low=factor.low,
            high=factor.high,
            why=factor.why,
            best=stretches,
            holds=holds,
            sure=sure,
            sentence=_sentence(measure, factor, stretches, recipe, sure),
        )

    def _turn(self, measure: Measure, at: Callable[[float], Point], below: float, above: float) -> float:
        """Return the value between two at which another recipe becomes the best, by bisection."""
        first = self.best(measure, at(below))
        for _ in range(40):
            middle = (below + above) / 2
            below, above = (middle, above) if self.best(measure, at(middle)) == first else (below, middle)
        return above

    def combinations(self, recipe: str, ranges: Sequence[FactorRange], seed: int) -> float:
        """Return the share of random combinations of factors (log-uniform) and draws in which a recipe is best."""
        random = np.random.default_rng(seed)
        shares = []
        for _ in range(100):
            grid, pue, embodied = (float(np.exp(random.uniform(np.log(one.low), np.log(one.high)))) for one in ranges)
            shares.append(self.sure("carbon", Point(grid=grid, pue=pue, embodied=embodied), recipe))
        return float(np.mean(shares))

    def everywhere(self, recipe: str, loads: Sequence[float | None]) -> bool | None:
        """Return whether a recipe has the least carbon at all combinations of the factors' bounds.

        The difference of two recipes is linear in each factor, the others fixed, so its sign at all corners decides.
        `loads` are the numbers of requests a day that are tried (None: a server that is always busy).
        """
        grids, pues, scales = ((one.low, one.high) for one in (GRID, PUE, EMBODIED))
        corners = itertools.product(grids, pues, scales, loads)
        found = [
            self.best("carbon", Point(grid=grid, pue=pue, embodied=embodied, per_day=load))
            for grid, pue, embodied, load in corners
        ]
        return None if None in found else all(one == recipe for one in found)


def _shown(number: float) -> str:
    return f"{float(f'{number:.3g}'):,.10g}"


def _central(found: Any) -> Any:
    return Drawn(found.value, found.value[:, None]) if isinstance(found, Drawn) else found


def _sentence(measure: Measure, factor: FactorRange, stretches: Sequence[Stretch], recipe: str, sure: float) -> str:
    least = {"energy": "the least energy", "carbon": "the least carbon", "cost": "the least cost"}[measure]
    unit = "" if factor.factor in (LOAD, "PUE") else f" {factor.unit}"
    if len(stretches) == 1:
        chosen = stretches[0].recipe
        span = f"{_shown(factor.low)} to {_shown(factor.high)}{unit}"
        doubt = (
            "" if sure >= SURE or chosen != recipe else f"; it is shown in {sure:.0%} of the draws where that is least"
        )
        return f"{chosen} has {least} at every {factor.factor} in range ({span}){doubt}"
    parts = []
    for one in stretches:
        if one.low == factor.low:
            parts.append(f"{one.recipe} below {_shown(one.high)}{unit}")
        elif one.high == factor.high:
            parts.append(f"{one.recipe} above {_shown(one.low)}{unit}")
        else:
            parts.append(f"{one.recipe} from {_shown(one.low)} to {_shown(one.high)}{unit}")
    return f"{least} by {factor.factor}: {', '.join(parts)}"
