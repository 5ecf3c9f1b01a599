"""From joules to grams of CO2 equivalent, by a location-based grid factor with its year, source and licence.

Location-based only: the factor is the mean of the grid that supplies the machine. Market-based instruments
(certificates, supply contracts) are left out, as ISO/IEC 21031:2024 (SCI) asks for the intensity of electricity.
"""

import difflib
import functools
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from greenllm.config.models import Site
from greenllm.errors import UserError
from greenllm.estimate import Interval, PartialInterval

J_PER_kWh = 3.6e6
MOST_YEARS = 2  # a factor older than this is flagged: grids change by some percent a year
_PACKAGE = "codecarbon"
_FILE = "codecarbon/data/private_infra/global_energy_mix.json"
_LICENCE = "CC BY 4.0 (data: Our World in Data, Ember), MIT (package)"


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


class _Territory(BaseModel):
    """A row of the package's table: the carbon intensity (gCO2e/kWh) and generation (TWh) of one year."""

    country_name: str
    year: int
    carbon_intensity: float
    total_TWh: float


@functools.cache
def _territories() -> tuple[Mapping[str, _Territory], str]:
    """Read the package's table by code; return it with its source.

    The file is read without importing the package, which would load its trackers.
    """
    package = importlib.metadata.distribution(_PACKAGE)
    table = Path(str(package.locate_file(_FILE))).read_bytes()
    rows = TypeAdapter(dict[str, _Territory]).validate_json(table)
    # The Central African Republic's hydropower is rounded to 0 in the table: that is an unknown, not a zero.
    known = {code: row for code, row in rows.items() if row.carbon_intensity > 0}
    return known, f"Our World in Data and Ember, from {_FILE} of {_PACKAGE} {package.version}"


def weighted_quantile(values: list[tuple[float, float]], share: float) -> float:
    """Return the least value with at least `share` of the weight at or below it; `values` is (value, weight)."""
    total, reached = sum(weight for _, weight in values), 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached >= share * total:
            return value
    return max(value for value, _ in values)


def grid_factor(site: Site, year: int) -> GridFactor | None:
    """Return the grid factor of a site as seen in `year`, or None where the site has none (`country: null`).

    Raises UserError for a factor of the user's own without its source, and for a country that the table lacks.
    """
    if (site.carbon_g_per_kWh is None) != (site.carbon_source is None):
        raise UserError(
            "config: site.carbon_g_per_kWh and site.carbon_source belong together: expected both or neither; "
            "give the factor in gCO2e/kWh and, beside it, where it comes from"
        )
    if site.carbon_g_per_kWh is not None and site.carbon_source is not None:
        return _own(site, site.carbon_g_per_kWh, site.carbon_source, year)
    if site.country is None:
        return None
    return _of_the_world(year) if site.country == "WORLD" else _of_a_country(site.country, year)


def _own(site: Site, g_per_kWh: float, source: str, year: int) -> GridFactor:
    """Return the user's own factor."""
    return GridFactor(
        place=site.country or "own factor",
        value=g_per_kWh,
        interval="none given with the factor",
        year=site.carbon_year,
        years=None if site.carbon_year is None else (site.carbon_year, site.carbon_year),
        source=source,
        licence=None,
        # A factor without a year can't be shown to be recent.
        outdated=site.carbon_year is None or year - site.carbon_year > MOST_YEARS,
    )


def _of_the_world(year: int) -> GridFactor:
    """Return the mean of all territories, weighted by their generation."""
    territories, source = _territories()
    weighted = [(row.carbon_intensity, row.total_TWh) for row in territories.values()]
    generated_TWh = sum(weight for _, weight in weighted)
    years = sorted(row.year for row in territories.values() if row.total_TWh > 0)
    # The mean year of the electricity; whether the factor is outdated is judged by it as well.
    main = round(sum(row.year * row.total_TWh for row in territories.values()) / generated_TWh)
    return GridFactor(
        place="WORLD",
        value=sum(value * weight for value, weight in weighted) / generated_TWh,
        low=weighted_quantile(weighted, 0.025),
        high=weighted_quantile(weighted, 0.975),
        interval=f"2.5 % and 97.5 % quantiles of {len(weighted)} territories, weighted by their generation",
        year=main,
        years=(years[0], years[-1]),
        source=f"mean weighted by generation; {source}",
        licence=_LICENCE,
        outdated=year - main > MOST_YEARS,
    )


def _of_a_country(country: str, year: int) -> GridFactor:
    """Return a country's factor from the table. Raises UserError where the table lacks the country."""
    territories, source = _territories()
    try:
        row = territories[country]
    except KeyError:
        near = difflib.get_close_matches(country, territories, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"config: site.country: {country!r} has no grid factor in {_PACKAGE}'s table; expected an ISO 3166 "
            f"alpha-3 code such as DEU or CHN, WORLD, or your own factor as site.carbon_g_per_kWh{hint}"
        ) from None
    return GridFactor(
        place=f"{row.country_name} ({country})",
        value=row.carbon_intensity,
        interval="unknown: the table gives one annual mean for each territory, and no bounds",
        year=row.year,
        years=(row.year, row.year),
        source=source,
        licence=_LICENCE,
        outdated=year - row.year > MOST_YEARS,
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
