"""What an account says of the consequences of its joules, in one place for all forms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.estimate import Interval, PartialInterval
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
    """The factors of a study's site, and the embodied carbon of its equipment; what is None or absent is unknown.

    `embodied_g` is the share of each attempt by its id, `embodied_per_request_g` that of a request by experiment and
    recipe, both in gCO2e. `coefficients` are those of the embodied carbon.
    """

    grid: GridFactor | None
    pue: Factor | None
    embodied_g: Mapping[str, PartialInterval] = field(default_factory=dict)
    embodied_per_request_g: Mapping[tuple[str, str], PartialInterval] = field(default_factory=dict)
    coefficients: Sequence[Coefficient] = ()

    @property
    def boundary(self) -> str:
        """Whose energy `carbon_g` counts."""
        if self.pue is None:
            return "IT equipment (PUE unknown)"
        return f"site (PUE {self.pue.value:g}{', that of an unknown site' if self.pue.place == UNKNOWN else ''})"

    @property
    def country(self) -> tuple[str, str] | None:
        """The name and ISO 3166 alpha-3 code of the site's country; None if unknown or the whole world."""
        found = COUNTRY.fullmatch(self.grid.place) if self.grid else None
        return (found["name"], found["code"]) if found else None

    def site_J(self, energy_J: Interval | None) -> PartialInterval | None:
        """Return the site's energy for that of the IT equipment; None without a PUE (ISO/IEC 30134-2)."""
        return None if energy_J is None or self.pue is None else _times(PartialInterval(*energy_J), self.pue)

    def carbon_g(self, energy_J: Interval | None) -> PartialInterval | None:
        """Return the operational carbon (gCO2e, location-based) of an energy within `boundary`; None if unknown."""
        energy = self.site_J(energy_J) if self.pue is not None else energy_J
        return None if energy is None or self.grid is None else _times(PartialInterval(*energy), self.grid, J_PER_kWh)

    def carbon_it_g(self, energy_J: Interval | None) -> PartialInterval | None:
        """Return the operational carbon of an energy of the IT equipment by itself; None if unknown."""
        return carbon_g(energy_J, self.grid)


def _times(amount: PartialInterval, factor: Factor | GridFactor, per: float = 1.0) -> PartialInterval:
    """Return an amount times a factor. The bounds are multiplied, so they are at least 95 % bounds; None if one is."""
    low, high = (
        None if one is None or bound is None else one * bound / per
        for one, bound in ((amount.low, factor.low), (amount.high, factor.high))
    )
    return PartialInterval(amount.value * factor.value / per, low, high)


def consequences(account: Account, footprint: Footprint | None = None) -> Consequences:
    """Return the factors of the footprint's site and its embodied carbon; without one, what the account knows."""
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
    )


def _own_pue(value: float) -> Factor:
    return Factor(
        name="PUE", place="own factor", value=value, low=value, high=value, interval="taken as exact",
        unit="kWh/kWh", year=None, source="the configuration of the study",
    )  # fmt: skip


def _per_request(of_a_thousand: PartialInterval) -> PartialInterval:
    value, low, high = of_a_thousand
    return PartialInterval(value / THOUSAND, low and low / THOUSAND, high and high / THOUSAND)
