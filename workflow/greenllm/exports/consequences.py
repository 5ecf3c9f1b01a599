"""What an account says of the consequences of its joules, in one place for all forms."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.estimate import Interval, PartialInterval
from greenllm.exports.stages import Serving, Stage
from greenllm.footprint.carbon import GridFactor, J_PER_kWh, carbon_g, stated
from greenllm.footprint.embodied import factors_of
from greenllm.footprint.factor import Factor
from greenllm.footprint.places import UNKNOWN

THOUSAND = 1000  # requests of a row of the footprint
COUNTRY = re.compile(r"(?P<name>.+) \((?P<code>[A-Z]{3})\)")  # as the grid factor's place names a country


@dataclass(frozen=True)
class Coefficient:
    """A coefficient that turns a quantity into another, with 95 % bounds (None: unknown), unit and source."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    source: str


@dataclass(frozen=True)
class Consequences:
    """The factors of a study's site, and the consequences of its attempts; what is None or absent is unknown.

    `embodied_g` is the share of each attempt by its id, `embodied_per_request_g` that of a request by experiment and
    recipe, both in gCO2e. `coefficients` are those of the embodied carbon. `it_J` and `operational_g` are the energy
    (J) and the carbon (gCO2e) of each attempt by its id, with its share of its host's idle energy; None without a
    footprint, which alone knows that share.
    """

    grid: GridFactor | None
    pue: Factor | None
    embodied_g: Mapping[str, PartialInterval] = field(default_factory=dict)
    embodied_per_request_g: Mapping[tuple[str, str], PartialInterval] = field(default_factory=dict)
    coefficients: Sequence[Coefficient] = ()
    it_J: Mapping[str, PartialInterval] = field(default_factory=dict)
    operational_g: Mapping[str, PartialInterval] | None = None

    def boundary(self, stage: Stage) -> str:
        """Return whose energy the carbon of a stage counts."""
        of = "IT equipment (PUE unknown)"
        if self.pue is not None:
            of = f"site (PUE {self.pue.value:g}{', that of an unknown site' if self.pue.place == UNKNOWN else ''})"
        if isinstance(stage, Serving):
            return of  # no host was idle meanwhile
        return f"{of}, {'without the' if self.operational_g is None else 'with its share of the'} hosts' idle energy"

    @property
    def country(self) -> tuple[str, str] | None:
        """The name and ISO 3166 alpha-3 code of the site's country; None if unknown or the whole world."""
        found = COUNTRY.fullmatch(self.grid.place) if self.grid else None
        return (found["name"], found["code"]) if found else None

    def site_J(self, energy_J: Interval | None) -> PartialInterval | None:
        """Return the site's energy for that of the IT equipment; None without a PUE (ISO/IEC 30134-2)."""
        return None if energy_J is None or self.pue is None else _times(PartialInterval(*energy_J), self.pue)

    def energy_J(self, stage: Stage) -> PartialInterval | None:
        """Return the energy of the IT equipment that the carbon of a stage is of; None if unknown."""
        if self.operational_g is None or isinstance(stage, Serving):
            return None if stage.energy_J is None else PartialInterval(*stage.energy_J)
        return total(self.it_J[job.id] for job in stage.jobs if job.id in self.it_J)

    def carbon_g(self, stage: Stage) -> PartialInterval | None:
        """Return the operational carbon (gCO2e, location-based) of a stage within its boundary; None if unknown."""
        if self.operational_g is not None and not isinstance(stage, Serving):
            return total(self.operational_g[job.id] for job in stage.jobs if job.id in self.operational_g)
        energy = self.site_J(stage.energy_J) if self.pue is not None else stage.energy_J
        return None if energy is None or self.grid is None else _times(PartialInterval(*energy), self.grid, J_PER_kWh)

    def carbon_it_g(self, energy_J: Interval | None) -> PartialInterval | None:
        """Return the operational carbon of an energy of the IT equipment by itself; None if unknown."""
        return carbon_g(energy_J, self.grid)


def total(parts: Iterable[PartialInterval]) -> PartialInterval | None:
    """Return the sum, None of nothing; a bound is None if that of any part is."""
    found = list(parts)
    if not found:
        return None
    low, high = ([part[bound] for part in found] for bound in (1, 2))
    return PartialInterval(
        math.fsum(part.value for part in found),
        None if None in low else math.fsum(bound for bound in low if bound is not None),
        None if None in high else math.fsum(bound for bound in high if bound is not None),
    )


def _times(amount: PartialInterval, factor: Factor | GridFactor, per: float = 1.0) -> PartialInterval:
    """Return an amount times a factor. The bounds are multiplied, so they are at least 95 % bounds; None if one is."""
    low, high = (
        None if one is None or bound is None else one * bound / per
        for one, bound in ((amount.low, factor.low), (amount.high, factor.high))
    )
    return PartialInterval(amount.value * factor.value / per, low, high)


def consequences(account: Account, footprint: Footprint | None = None) -> Consequences:
    """Return the factors of the footprint's site and its carbon; without one, what the account knows."""
    if footprint is None:
        return Consequences(grid=account.grid, pue=None if account.pue is None else _own_pue(account.pue))
    site = footprint.site
    return Consequences(
        grid=None if site.grid_carbon is None else stated(site.grid_carbon, site.place, footprint.year),
        pue=site.pue,
        embodied_g={job.id: job.embodied_g for job in footprint.jobs if job.embodied_g is not None},
        embodied_per_request_g={
            (row.experiment, row.recipe): _per_request(row.embodied_g)
            for row in footprint.requests
            if row.embodied_g is not None
        },
        coefficients=[
            Coefficient(f"{one.name}, {one.place}", one.value, one.low, one.high, one.unit, one.source)
            for one in factors_of(footprint.equipment)
        ],
        it_J={job.id: job.it_J for job in footprint.jobs if job.it_J is not None},
        operational_g={
            job.id: carbon
            for job in footprint.jobs
            if (carbon := job.carbon_it_g if site.pue is None else job.carbon_g) is not None
        },
    )


def _own_pue(value: float) -> Factor:
    return Factor(
        name="PUE", place="own factor", value=value, low=value, high=value, interval="taken as exact",
        unit="kWh/kWh", year=None, source="the configuration of the study",
    )  # fmt: skip


def _per_request(of_a_thousand: PartialInterval) -> PartialInterval:
    value, low, high = of_a_thousand
    return PartialInterval(value / THOUSAND, low and low / THOUSAND, high and high / THOUSAND)
