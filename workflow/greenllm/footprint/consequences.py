"""What energies and reservations mean: energy in scopes, carbon, water, cost and heat, with intervals by Monte Carlo.

All of them are linear in the sensors' parameters and in the grams of each device second, so a row is a set of
coefficients, and draws of rows are products of matrices. What is unknown is None, and so is all that follows from it.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from greenllm.estimate import UNSEEN, Estimate, Parameter, PartialInterval, total_known
from greenllm.footprint import formulas
from greenllm.footprint.draws import NORMAL_95, Array, Drawn, Draws, distributed
from greenllm.footprint.embodied import Reserved
from greenllm.footprint.factor import Factor
from greenllm.footprint.rows import AccountPart
from greenllm.footprint.site_factors import Equipment, SiteFactors

# What these factors can't be below: a lower bound there is drawn as such, never as a negative amount.
LEAST = {"PUE": 1.0, "WUE": 0.0, "grid water": 0.0, "ERF": 0.0, "renewable share": 0.0, "market carbon": 0.0}
CHUNK = 64  # rows that are drawn at once, which bounds the memory
# Names of draws whose half-width is each row's own: they are shared by all rows, which changes no row's interval.
OPEN, SPREAD = "what readings left open", "spread between repetitions"


@dataclass(frozen=True, kw_only=True)
class Consumption:
    """What jobs used: the energy (J) of accelerators and of the whole host, their share of the host's idle energy.

    `timed` is host and idle, each job's times the grid carbon of its hours over the year's; None: the same as without.
    `reserved` is the equipment that they held. `spread` is the half-width (low, high) of the logarithm's 95 % interval
    between repetitions. `unknown` says what is missing, and why.
    """

    accelerator: Estimate | None
    host: Estimate | None
    idle: Estimate | None
    timed: Estimate | None = None
    reserved: Reserved | None
    spread: tuple[float, float] = (0.0, 0.0)
    unknown: tuple[str, ...] = ()

    def scaled(self, by: float) -> "Consumption":
        """Return it times a known number."""

        def times(energy: Estimate | None) -> Estimate | None:
            return None if energy is None else energy.scaled(by)

        return replace(
            self,
            accelerator=times(self.accelerator),
            host=times(self.host),
            idle=times(self.idle),
            timed=times(self.timed),
            reserved=None if self.reserved is None else {name: by * amount for name, amount in self.reserved.items()},
        )


def together(parts: Sequence[Consumption]) -> Consumption:
    """Return the sum of consumptions. Its energy is that of the parts whose energy is known."""
    known = [part.reserved for part in parts if part.reserved is not None]
    reserved: dict[str, float] = {}
    for name, amount in itertools.chain.from_iterable(one.items() for one in known):
        reserved[name] = reserved.get(name, 0.0) + amount
    timed = any(part.timed is not None for part in parts)
    return Consumption(
        accelerator=total_known(part.accelerator for part in parts),
        host=total_known(part.host for part in parts),
        idle=total_known(part.idle for part in parts),
        timed=total_known(part.timed for part in parts) if timed else None,
        reserved=reserved if len(known) == len(parts) else None,
        unknown=tuple(dict.fromkeys(reason for part in parts for reason in part.unknown)),
    )


class Consequences(AccountPart):
    """Energy in J by scope, each of which holds the one before, and its consequences; None is unknown.

    `idle_J` is the share of the host's unallocated idle energy, `it_J` that of the IT equipment: host and idle.
    `carbon_it_g` is location-based, `carbon_g` the same of the site (times PUE); `market_carbon_g` and
    `marginal_carbon_g` are of the site, too. `total_g` is carbon of the site and embodied. `heat_displaced_g` is the
    carbon of the heating that reused heat replaces. Cost is in the currency of the price.
    """

    accelerator_J: PartialInterval | None
    host_J: PartialInterval | None
    idle_J: PartialInterval | None
    it_J: PartialInterval | None
    site_J: PartialInterval | None
    carbon_it_g: PartialInterval | None
    carbon_g: PartialInterval | None
    market_carbon_g: PartialInterval | None
    marginal_carbon_g: PartialInterval | None
    embodied_g: PartialInterval | None
    total_g: PartialInterval | None
    water_site_L: PartialInterval | None
    water_grid_L: PartialInterval | None
    water_L: PartialInterval | None
    cost: PartialInterval | None
    heat_reused_kWh: PartialInterval | None
    heat_displaced_g: PartialInterval | None


QUANTITIES = tuple(Consequences.model_fields)


@dataclass(frozen=True)
class _Column:
    """A quantity of some rows, and in which of them it is known; `drawn` is None where it is known in none."""

    drawn: Drawn | None
    known: Array

    def values(self) -> list[PartialInterval | None]:
        if self.drawn is None:
            return [None] * len(self.known)
        return [found if known else None for found, known in zip(self.drawn.intervals(), self.known, strict=True)]


def _applied(formula: Callable[..., Drawn], *parts: _Column | Drawn | None) -> _Column:
    """Return a formula of columns and constants: unknown where one of them is."""
    columns = [part for part in parts if isinstance(part, _Column)]
    known = np.logical_and.reduce([column.known for column in columns])
    drawn = [part.drawn if isinstance(part, _Column) else part for part in parts]
    return _Column(None if any(one is None for one in drawn) else formula(*drawn), known)


@dataclass(frozen=True)
class ImpactModel:
    """Turns consumption into consequences, with the sensors' parameters, a site's factors and the equipment's."""

    parameters: Mapping[str, Parameter]
    site: SiteFactors
    equipment: Sequence[Equipment]
    draws: Draws

    def constant(self, factor: Factor | None) -> Drawn | None:
        """Return the draws of a factor, shared by all rows; None if it is unknown."""
        if factor is None:
            return None
        least = LEAST.get(factor.name)
        value = np.array([factor.value])
        if factor.low is None or factor.high is None:
            plain = np.full((1, self.draws.count), factor.value)
            return Drawn(value, plain, frozenset({name_of(factor)}))
        normal = self.draws.normal(name_of(factor))
        drawn = distributed(normal, factor.value, factor.low, factor.high, least)
        return Drawn(value, drawn[None, :])

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(n for n in self.parameters if not n.startswith(UNSEEN))}

    @cached_property
    def _parameters(self) -> Drawn:
        known = [self.parameters[name] for name in self._place]
        drawn = [
            distributed(self.draws.normal(name), one.value, one.low, one.high)
            for name, one in zip(self._place, known, strict=True)
        ]
        return Drawn(np.array([one.value for one in known]), np.array(drawn).reshape(len(known), self.draws.count))

    @cached_property
    def _rates(self) -> dict[str, Drawn]:
        """The embodied carbon of each kind of equipment in grams for each device second, TE / EL."""
        rates = {}
        for one in self.equipment:
            embodied_kg, life_years = self.constant(one.embodied), self.constant(one.life)
            if embodied_kg is not None and life_years is not None:
                rates[one.name] = formulas.embodied_g(embodied_kg * 1000, 1 / 3600, life_years, 1.0)
        return rates

    def energy(self, energies: Sequence[Estimate | None], spreads: Sequence[tuple[float, float]] = ()) -> Drawn:
        """Return the draws of energies (J); those of an unknown energy are zero."""
        coefficients = np.zeros((len(energies), len(self._place)))
        open_J = np.zeros(len(energies))
        for row, energy in enumerate(energies):
            for name, coefficient in (energy.terms if energy else {}).items():
                if name.startswith(UNSEEN):
                    open_J[row] = np.hypot(open_J[row], coefficient)
                else:
                    coefficients[row, self._place[name]] += coefficient
        used = np.flatnonzero(coefficients.any(axis=0))  # a chunk's rows are of few hosts
        value = coefficients @ self._parameters.value
        drawn = coefficients[:, used] @ self._parameters.draws[used]
        if open_J.any():
            drawn += np.outer(open_J / NORMAL_95, self.draws.normal(OPEN))
        if any(low or high for low, high in spreads):
            drawn *= self._spread(spreads)
        return Drawn(value, drawn)

    def _spread(self, spreads: Sequence[tuple[float, float]]) -> Array:
        """Return the factors, a row each, by which repetitions differ."""
        normal = self.draws.normal(SPREAD) / NORMAL_95
        low, high = (np.array(side)[:, None] for side in zip(*spreads, strict=True))
        factors: Array = np.exp(normal * np.where(normal < 0, low, high))
        return factors

    def embodied(self, amounts: Sequence[Reserved | None], spreads: Sequence[tuple[float, float]] = ()) -> _Column:
        """Return the embodied carbon (g) of reserved device seconds.

        `spreads` are those of the energies: their time was measured in the same repetitions, and differs alike.
        """
        found = Drawn(np.zeros(len(amounts)), np.zeros((len(amounts), self.draws.count)))
        for name in dict.fromkeys(name for one in amounts for name in one or ()):
            device_s = np.array([(one or {}).get(name, 0.0) for one in amounts])
            found = found + self._rates[name] * Drawn(device_s, device_s[:, None])
        if any(low or high for low, high in spreads):
            found = Drawn(found.value, found.draws * self._spread(spreads), found.unbounded)
        return _Column(found, np.array([one is not None for one in amounts]))

    def columns(self, rows: Sequence[Consumption]) -> dict[str, _Column]:
        """Return each quantity of `Consequences`, of all rows."""
        spreads, site = [row.spread for row in rows], self.site

        def energy(energies: Sequence[Estimate | None]) -> _Column:
            return _Column(self.energy(energies, spreads), np.array([one is not None for one in energies]))

        host, idle = energy([row.host for row in rows]), energy([row.idle for row in rows])
        it, pue = _applied(operator.add, host, idle), self.constant(site.pue)
        timed_J = [total_known([row.host, row.idle]) if row.timed is None else row.timed for row in rows]
        timed = energy(timed_J) if any(row.timed is not None for row in rows) else it
        it_kWh, site_J = _applied(_in_kWh, it), _applied(formulas.site_energy, it, pue)
        site_kWh = _applied(_in_kWh, site_J)
        grid = self.constant(site.grid_carbon)
        carbon_it = _applied(formulas.operational_g, _applied(_in_kWh, replace(timed, known=it.known)), grid)
        carbon, embodied = (
            _applied(formulas.site_energy, carbon_it, pue),
            self.embodied([row.reserved for row in rows], spreads),
        )
        on_site = _applied(formulas.water_on_site_L, it_kWh, self.constant(site.wue))
        in_grid = _applied(formulas.water_in_grid_L, site_kWh, self.constant(site.grid_water))
        heat = _applied(formulas.reused_heat_kWh, site_kWh, self.constant(site.erf))
        return {
            "accelerator_J": energy([row.accelerator for row in rows]),
            "host_J": host,
            "idle_J": idle,
            "it_J": it,
            "site_J": site_J,
            "carbon_it_g": carbon_it,
            "carbon_g": carbon,
            "market_carbon_g": _applied(formulas.operational_g, site_kWh, self.constant(site.market_carbon)),
            "marginal_carbon_g": _applied(formulas.operational_g, site_kWh, self.constant(site.grid_carbon_marginal)),
            "embodied_g": embodied,
            "total_g": _applied(operator.add, carbon, embodied),
            "water_site_L": on_site,
            "water_grid_L": in_grid,
            "water_L": _applied(operator.add, on_site, in_grid),
            "cost": _applied(formulas.cost, site_kWh, self.constant(site.price)),
            "heat_reused_kWh": heat,
            "heat_displaced_g": _applied(formulas.operational_g, heat, self.constant(site.heat_carbon)),
        }

    def consequences(self, rows: Iterable[Consumption]) -> Iterator[Consequences]:
        """Yield the consequences of each row."""
        remaining = iter(rows)
        while chunk := list(itertools.islice(remaining, CHUNK)):
            values = [column.values() for column in self.columns(chunk).values()]
            for found in zip(*values, strict=True):
                yield Consequences(**dict(zip(QUANTITIES, found, strict=True)))


def _in_kWh(energy_J: Drawn) -> Drawn:
    return energy_J / formulas.J_PER_kWh


def name_of(factor: Factor) -> str:
    """Return the name under which a factor is drawn: two uses of one factor share it."""
    return f"{factor.name}: {factor.place}"
