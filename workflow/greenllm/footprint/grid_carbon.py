"""The carbon intensity of electricity at a place: a country, a part of one, or the mean of the world."""

import functools
from pathlib import Path

from greenllm.footprint.codecarbon_tables import country_factors, regions, territories
from greenllm.footprint.factor import Factor
from greenllm.footprint.factor_tables import FactorTables, read_factors, shipped_factors

WORLD = "WORLD"
GRID_CARBON = "grid carbon"


@functools.cache
def tables(own: tuple[Path, ...] = ()) -> FactorTables:
    """Return all factors: the user's `own` tables first, then ours together with codecarbon's.

    Raises UserError if a table of the user's is not valid.
    """
    known = (*shipped_factors(), *country_factors(), *(region.grid_carbon for region in regions().values()))
    return FactorTables([[factor for path in own for factor in read_factors(path)], known])


def grid_carbon(place: str, year: int, own: tuple[Path, ...] = ()) -> Factor | None:
    """Return the location-based mean of a place (a code, or WORLD) for a year; None if it is unknown."""
    found = tables(own).find(GRID_CARBON, place, year)
    return _mean_of_the_world(year) if found is None and place == WORLD else found


def weighted_quantile(values: list[tuple[float, float]], share: float) -> float:
    """Return the least value with at least `share` of the weight at or below it; `values` is (value, weight)."""
    total, reached = sum(weight for _, weight in values), 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached >= share * total:
            return value
    return max(value for value, _ in values)


def world_factors(year: int) -> list[tuple[Factor, float]]:
    """Return the factor of each territory, and its generation (TWh), that the mean of the world is taken of."""
    found = ((tables().find(GRID_CARBON, code, year), row.total_TWh) for code, row in territories().items())
    return [(factor, weight) for factor, weight in found if factor is not None]


def _mean_of_the_world(year: int) -> Factor:
    """Return the mean of all territories, weighted by their generation."""
    found = world_factors(year)
    weighted = [(factor.value, weight) for factor, weight in found]
    generated_TWh = sum(weight for _, weight in weighted)
    years = [factor.year for factor, weight in found if factor.year is not None and weight > 0]
    first = max(found, key=lambda pair: pair[1])[0]
    return Factor(
        name=GRID_CARBON,
        place=WORLD,
        value=sum(value * weight for value, weight in weighted) / generated_TWh,
        low=weighted_quantile(weighted, 0.025),
        high=weighted_quantile(weighted, 0.975),
        interval=f"2.5 % and 97.5 % quantiles of {len(weighted)} territories, weighted by their generation",
        unit=first.unit,
        # The mean year of the electricity; whether the factor is outdated is judged by it as well.
        year=round(sum((factor.year or 0) * weight for factor, weight in found) / generated_TWh),
        source=f"mean weighted by generation (codecarbon); {first.source}",
        licence=first.licence,
        retrieved=first.retrieved,
        note=first.note,
        years=(min(years), max(years)),
    )
