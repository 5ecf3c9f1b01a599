"""What an account says of the consequences of its joules, in one place for all forms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.estimate import Interval, PartialInterval
from greenllm.footprint.carbon import GridFactor, carbon_g
from greenllm.footprint.embodied import factors_of
from greenllm.footprint.factor import Factor

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
    pue: float | None
    embodied_g: Mapping[str, PartialInterval] = field(default_factory=dict)
    embodied_per_request_g: Mapping[tuple[str, str], PartialInterval] = field(default_factory=dict)
    coefficients: Sequence[Coefficient] = ()
    unknown_site_pue: Factor | None = None  # what the footprint takes where the study's own PUE is unknown

    @property
    def boundary(self) -> str:
        """Whose energy `carbon_g` counts."""
        return "IT equipment (PUE unknown)" if self.pue is None else f"site (PUE {self.pue:g})"

    @property
    def country(self) -> tuple[str, str] | None:
        """The name and ISO 3166 alpha-3 code of the site's country; None if unknown or the whole world."""
        found = COUNTRY.fullmatch(self.grid.place) if self.grid else None
        return (found["name"], found["code"]) if found else None

    def site_J(self, energy_J: Interval | None) -> Interval | None:
        """Return the site's energy for that of the IT equipment; None without a PUE (ISO/IEC 30134-2)."""
        return None if energy_J is None or self.pue is None else Interval(*(joules * self.pue for joules in energy_J))

    def estimated_site_J(self, energy_J: Interval | None) -> Interval | None:
        """Return the site's energy with the PUE of an unknown site: its bounds widen those of the energy."""
        pue = self.unknown_site_pue
        if energy_J is None or pue is None:
            return None
        low, high = pue.low or pue.value, pue.high or pue.value
        return Interval(energy_J.value * pue.value, energy_J.low * low, energy_J.high * high)

    def carbon_g(self, energy_J: Interval | None) -> PartialInterval | None:
        """Return the operational carbon (gCO2e, location-based) of an energy within `boundary`; None if unknown."""
        return carbon_g(energy_J, self.grid, 1.0 if self.pue is None else self.pue)


def consequences(account: Account, footprint: Footprint | None = None) -> Consequences:
    """Return the consequences that the account knows of, and the embodied carbon that the footprint does."""
    if footprint is None:
        return Consequences(grid=account.grid, pue=account.pue)
    return Consequences(
        grid=account.grid,
        pue=account.pue,
        unknown_site_pue=footprint.site.pue if account.pue is None else None,
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


def _per_request(of_a_thousand: PartialInterval) -> PartialInterval:
    value, low, high = of_a_thousand
    return PartialInterval(value / THOUSAND, low and low / THOUSAND, high and high / THOUSAND)
