"""From joules to grams of CO2 equivalent, by a location-based grid factor with its year, source and licence.

Location-based only: the factor is the mean of the grid that supplies the machine. Market-based instruments
(certificates, supply contracts) are left out, as ISO/IEC 21031:2024 (SCI) asks for the intensity of electricity.
"""

from dataclasses import dataclass

from greenllm.config.models import Site
from greenllm.estimate import Interval, PartialInterval
from greenllm.footprint.factor import Factor
from greenllm.footprint.grid_carbon import WORLD
from greenllm.footprint.site_factors import site_factors_of

J_PER_kWh = 3.6e6


@dataclass(frozen=True, kw_only=True)
class GridFactor:
    """Carbon intensity of electricity in grams of CO2 equivalent per kWh, with its source.

    `low` and `high` are 95 % bounds, or None where the source has none; `interval` says in words what they are.
    """

    place: str
    value: float
    low: float | None = None
    high: float | None = None
    interval: str
    year: int | None
    years: tuple[int, int] | None
    source: str
    licence: str | None
    outdated: bool
    method: str = "location-based"
    unit: str = "gCO2e/kWh"


def grid_factor(site: Site, year: int) -> GridFactor | None:
    """Return a site's grid factor, outdated or not by `year`; None if the site has none (`country: null`).

    Raises UserError for a user's factor without its source, and for a country or region that the tables lack.
    """
    found = site_factors_of(site, year)
    factor = found.grid_carbon
    if factor is None:
        return None
    return stated(factor, found.place, year)


def stated(factor: Factor, place: str, year: int) -> GridFactor:
    """Return a grid factor of a place as it is stated to readers: its years, and whether it is outdated by `year`."""
    one_year = None if factor.year is None else (factor.year, factor.year)
    return GridFactor(
        place=factor.place if WORLD in (factor.place, place) else place,  # a user's own is not the world's
        value=factor.value,
        low=factor.low,
        high=factor.high,
        interval=factor.interval,
        year=factor.year,
        years=factor.years or one_year,
        source=factor.source,
        licence=factor.licence,
        outdated=factor.outdated(year),
    )


def carbon_g(energy_J: Interval | None, factor: GridFactor | None, pue: float = 1.0) -> PartialInterval | None:
    """Return grams of CO2 equivalent of an energy in joules; None where energy or factor is unknown.

    The bounds multiply those of energy and factor, so they are at least 95 % bounds. They are None where the factor
    has none: without the factor's uncertainty they would be too narrow. `pue` scales the energy of the IT equipment to
    that of the site (ISO/IEC 30134-2).
    """
    if energy_J is None or factor is None:
        return None
    scale = pue / J_PER_kWh
    return PartialInterval(
        energy_J.value * scale * factor.value,
        None if factor.low is None else energy_J.low * scale * factor.low,
        None if factor.high is None else energy_J.high * scale * factor.high,
    )
