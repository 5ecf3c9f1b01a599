"""Recipes in service, ranked by energy, carbon or cost: as the site is, and over the ranges of its factors.

A request's energy is that under load, the model's making divided among the expected requests, and, at fewer requests a
day, the server's idle power between them. Its carbon is that of the electricity, and the embodied carbon of what is
reserved meanwhile.

Recipes that can't be distinguished from the best one share first place with it. Two recipes are distinguished if 97.5 %
of the draws have the same order of them (a 95 % interval of their difference, on both sides, excludes zero), and if
their values differ by more than the host can resolve: the same model, served twice, differs by up to that share (the
twin).
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
APART = 0.975  # the share of draws with the same order from which two recipes are distinguished
RANKED_DRAWS = 2000  # a share of 0.975 of them is known to 0.004, one standard error
COMBINATIONS = 200


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
    """The recipes of an experiment that may be deployed, and the site's factors.

    `resolvable` is the smallest difference, as a share, that the host can resolve; 0 where it is unknown.
    """

    options: Sequence[Option]
    requests: float
    grid: Drawn | None
    pue: Drawn | None
    price: Drawn | None
    with_embodied: bool
    resolvable: float = 0.0

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
    def _few(self) -> "Ranking":
        """The same with the first draws alone, which are enough for an order."""
        options = [
            replace(option, **{name: _first(drawn) for name, drawn in vars(option).items()}) for option in self.options
        ]
        grid, pue, price = (_first(one) for one in (self.grid, self.pue, self.price))
        return replace(self, options=options, grid=grid, pue=pue, price=price)

    def first(self, measure: Measure, point: Point) -> tuple[str, ...] | None:
        """Return the recipe with the least value, and those that can't be told apart from it, in the options' order.

        None where the value of one is unknown.
        """
        few = self._few
        function = few.of(measure)
        found = {option.recipe: one for option in few.options if (one := function(option, point)) is not None}
        if len(found) < len(few.options):
            return None
        least = min(found.values(), key=lambda one: float(one.value[0]))
        return tuple(recipe for recipe, one in found.items() if one is least or not self._apart(least, one))

    def _apart(self, less: Drawn, more: Drawn) -> bool:
        """Return whether a value is shown to be less than another."""
        resolved = float(more.value[0]) * (1 - self.resolvable) > float(less.value[0])
        return resolved and float(np.mean(less.draws < more.draws)) >= APART

    def sweep(self, measure: Measure, factor: FactorRange, at: Callable[[float], Point], recipe: str) -> Sweep | None:
        """Return the ranking over a factor's range; None where a value is unknown."""
        values = np.geomspace(factor.low, factor.high, STEPS)
        firsts = [self.first(measure, at(value)) for value in values]
        if any(one is None for one in firsts):
            return None
        stretches = [Stretch(recipes=list(firsts[0] or ()), low=factor.low, high=factor.high)]
        for (before, left), (after, right) in itertools.pairwise(zip(values, firsts, strict=True)):
            if left != right:
                turn = self._turn(measure, at, before, after)
                stretches[-1] = stretches[-1].model_copy(update={"high": turn})
                stretches.append(Stretch(recipes=list(right or ()), low=turn, high=factor.high))
        return Sweep(
            measure=measure,
            factor=factor.factor,
            unit=factor.unit,
            low=factor.low,
            high=factor.high,
            why=factor.why,
            best=stretches,
            holds=all(recipe in one.recipes for one in stretches),
        )

    def _turn(self, measure: Measure, at: Callable[[float], Point], below: float, above: float) -> float:
        """Return the value between two at which other recipes become the best, by bisection."""
        left = self.first(measure, at(below))
        for _ in range(25):
            middle = (below + above) / 2
            below, above = (middle, above) if self.first(measure, at(middle)) == left else (below, middle)
        return above

    def combinations(self, recipe: str, ranges: Sequence[FactorRange], seed: int) -> float | None:
        """Return the share of random combinations of factors (log-uniform) at which a recipe has the least carbon.

        It may share first place. None where the carbon of a recipe is unknown.
        """
        random = np.random.default_rng(seed)
        found = []
        for _ in range(COMBINATIONS):
            grid, pue, embodied = (float(np.exp(random.uniform(np.log(one.low), np.log(one.high)))) for one in ranges)
            found.append(self.first("carbon", Point(grid=grid, pue=pue, embodied=embodied)))
        return None if None in found else float(np.mean([recipe in (one or ()) for one in found]))

    def everywhere(self, recipe: str, loads: Sequence[float | None]) -> bool | None:
        """Return whether a recipe has the least carbon, alone or shared, at all combinations of the factors' bounds.

        The difference of two recipes is linear in each factor, the others fixed, so its sign at all corners decides.
        `loads` are the numbers of requests a day that are tried (None: a server that is always busy).
        """
        grids, pues, scales = ((one.low, one.high) for one in (GRID, PUE, EMBODIED))
        corners = itertools.product(grids, pues, scales, loads)
        found = [
            self.first("carbon", Point(grid=grid, pue=pue, embodied=embodied, per_day=load))
            for grid, pue, embodied, load in corners
        ]
        return None if None in found else all(recipe in (one or ()) for one in found)


def _first(found: Any) -> Any:
    return Drawn(found.value, found.draws[:, :RANKED_DRAWS]) if isinstance(found, Drawn) else found
