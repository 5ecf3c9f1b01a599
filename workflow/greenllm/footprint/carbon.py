"""From joules to grams of CO2 equivalent, by a location-based grid factor with its year, source and licence.

Location-based only: the factor is the mean of the grid the machine stands on. Market-based instruments (certificates,
supply contracts) are left out, as ISO/IEC 21031:2024 (SCI) asks for the intensity of electricity.
"""

import difflib
import functools
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenllm.config.models import Site
from greenllm.errors import UserError

J_PER_kWh = 3.6e6
MOST_YEARS = 2  # a factor older than this is flagged: grids change by some percent a year
_PACKAGE = "codecarbon"
_FILE = "codecarbon/data/private_infra/global_energy_mix.json"
_LICENCE = "CC BY 4.0 (data: Our World in Data, Ember), MIT (package)"


@dataclass(frozen=True)
class GridFactor:
    """Carbon intensity of electricity in grams of CO2 equivalent per kWh, with where it comes from.

    `low` and `high` are 95 % bounds, or None where the source gives none (`interval` says which, in words).
    """

    place: str
    value: float
    low: float | None
    high: float | None
    interval: str
    year: int | None
    years: tuple[int, int] | None
    source: str
    licence: str | None
    outdated: bool
    method: str = "location-based"
    unit: str = "gCO2e/kWh"

    def to_json(self) -> dict[str, Any]:
        """Return the factor as a JSON object."""
        return asdict(self)


@functools.cache
def _territories() -> tuple[Mapping[str, Mapping[str, Any]], str]:
    """Read the package's table, without importing the package (which would load its trackers): rows and source."""
    package = importlib.metadata.distribution(_PACKAGE)
    table = Path(str(package.locate_file(_FILE))).read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = json.loads(table)
    # The Central African Republic's hydropower is rounded to 0 in the table: that is an unknown, not a zero.
    known = {code: row for code, row in rows.items() if row["carbon_intensity"] > 0}
    return known, f"Our World in Data and Ember, from {_FILE} of {_PACKAGE} {package.version}"


def weighted_quantile(values: list[tuple[float, float]], share: float) -> float:
    """Return the least value below or at which at least `share` of the weight lies; `values` is (value, weight)."""
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
        own_year = site.carbon_year
        return GridFactor(
            place=site.country or "own factor",
            value=site.carbon_g_per_kWh,
            low=None,
            high=None,
            interval="none given with the factor",
            year=own_year,
            years=None if own_year is None else (own_year, own_year),
            source=site.carbon_source,
            licence=None,
            # A factor without a year can't be shown to be recent.
            outdated=own_year is None or year - own_year > MOST_YEARS,
        )
    if site.country is None:
        return None
    territories, source = _territories()
    if site.country == "WORLD":
        weighted = [(float(row["carbon_intensity"]), float(row["total_TWh"])) for row in territories.values()]
        years = sorted(int(row["year"]) for row in territories.values() if row["total_TWh"] > 0)
        # The year that most of the electricity belongs to; the flag goes by it as well.
        main = round(
            sum(int(row["year"]) * row["total_TWh"] for row in territories.values())
            / sum(row["total_TWh"] for row in territories.values())
        )
        return GridFactor(
            place="WORLD",
            value=sum(value * weight for value, weight in weighted) / sum(weight for _, weight in weighted),
            low=weighted_quantile(weighted, 0.025),
            high=weighted_quantile(weighted, 0.975),
            interval=f"2.5 % and 97.5 % quantiles of {len(weighted)} territories, weighted by their generation",
            year=main,
            years=(years[0], years[-1]),
            source=f"mean weighted by generation; {source}",
            licence=_LICENCE,
            outdated=year - main > MOST_YEARS,
        )
    try:
        row = territories[site.country]
    except KeyError:
        near = difflib.get_close_matches(site.country, territories, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"config: site.country: {site.country!r} has no grid factor in {_PACKAGE}'s table; expected an ISO 3166 "
            f"alpha-3 code such as DEU or CHN, WORLD, or your own factor as site.carbon_g_per_kWh{hint}"
        ) from None
    return GridFactor(
        place=f"{row['country_name']} ({site.country})",
        value=float(row["carbon_intensity"]),
        low=None,
        high=None,
        interval="unknown: the table gives one annual mean for each territory, and no bounds",
        year=int(row["year"]),
        years=(int(row["year"]), int(row["year"])),
        source=source,
        licence=_LICENCE,
        outdated=year - int(row["year"]) > MOST_YEARS,
    )


def carbon_g(
    energy_J: Mapping[str, float] | None, factor: GridFactor | None, pue: float = 1.0
) -> dict[str, float | None] | None:
    """Return grams of CO2 equivalent {value, low, high} of an energy {value, low, high}, in joules.

    The bounds multiply those of energy and factor, so they are at least 95 % bounds; they are None where the factor
    has none, since leaving its uncertainty out would make the figure look surer than it is. `pue` scales the energy of
    the IT equipment to that of the site (ISO/IEC 30134-2). None where energy or factor is unknown.
    """
    if energy_J is None or factor is None:
        return None
    scale = pue / J_PER_kWh
    return {
        "value": energy_J["value"] * scale * factor.value,
        "low": None if factor.low is None else energy_J["low"] * scale * factor.low,
        "high": None if factor.high is None else energy_J["high"] * scale * factor.high,
    }
