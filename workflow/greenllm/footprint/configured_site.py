"""The factors of a configured site, as far as the configuration has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from greenllm.config.models import Site
from greenllm.footprint.carbon import grid_factor
from greenllm.footprint.factor import Factor
from greenllm.footprint.grid_course import GridCourse
from greenllm.footprint.site_factors import Equipment, SiteFactors


def configured_site(site: Site, year: int) -> SiteFactors:
    """Return a site's factors for a year. Raises UserError for a country that the table lacks."""
    grid = grid_factor(site, year)
    carbon = None
    if grid is not None:
        carbon = Factor(
            name="grid carbon",
            place=grid.place,
            value=grid.value,
            low=grid.low,
            high=grid.high,
            interval=grid.interval,
            unit=grid.unit,
            year=grid.year,
            source=grid.source,
            licence=grid.licence,
        )
    return SiteFactors(
        place=grid.place if grid else "unknown place",
        grid_carbon=carbon,
        pue=None
        if site.pue is None
        else Factor(
            name="PUE",
            place="own factor",
            value=site.pue,
            low=site.pue,
            high=site.pue,
            interval="taken as exact",
            unit="kWh/kWh",
            year=year,
            source="the configuration of the study",
        ),
    )


def configured_equipment(config: Mapping[str, Any], gpus: Sequence[str], year: int) -> list[Equipment]:
    """Return the equipment of hosts with these models of GPUs: none is known without tables of embodied carbon."""
    return []


def configured_course(site: Site) -> GridCourse | None:
    """Return the recorded series of the site's grid: none is configured."""
    return None
