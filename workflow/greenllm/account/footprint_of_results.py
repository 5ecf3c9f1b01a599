"""The footprint of a results folder, from its account.json and attribution.json: no ledger is read, no job runs."""

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from greenllm.account.consumed import Consumed
from greenllm.account.document import Account
from greenllm.account.footprint import footprint, source_file
from greenllm.account.footprint_document import Footprint
from greenllm.account.footprint_options import FootprintOptions
from greenllm.attribution.stored import StoredAttribution
from greenllm.config.models import OwnEquipment, Site
from greenllm.config.read import validate
from greenllm.errors import UserError
from greenllm.footprint.consequences import ImpactModel
from greenllm.footprint.draws import Draws
from greenllm.footprint.equipment import equipment_of
from greenllm.footprint.given import KINDS, given_factor
from greenllm.footprint.grid_course import GridCourse
from greenllm.footprint.site_factors import SiteFactors, recorded_carbon_of, site_factors_of
from greenllm.study import layout

REMEDY = "expected a results folder in which `greenllm account` has been run; run it first"
YEAR = 2026  # of the factors, for an account without any job


def footprint_of_results(folder: Path, options: FootprintOptions) -> tuple[Account, Footprint]:
    """Return the account of a results folder, and its footprint.

    Raises UserError if account or attribution are missing, and for a place, a factor or a time that is not valid.
    """
    paths = [layout.located(pattern, folder) for pattern in (layout.ACCOUNT, layout.ATTRIBUTION)]
    account, attribution = Account.read(paths[0], REMEDY), StoredAttribution.read(paths[1], REMEDY)
    own_year = int(account.until[:4]) if account.until else None
    year = options.year or own_year or YEAR
    own = site_of(account)
    site, projection = _site(options, own, year, own_year)
    equipment = equipment_of(_hardware_of(account), attribution.gpus, year)
    course = recorded_carbon_of(own) if options.country is None and "carbon" not in options.given else None
    shift = _shift(options.start, account, course)
    if shift:
        projection.append(f"begun at {options.start}")
    consumed = Consumed(
        account, attribution, equipment, site.grid_carbon.value if site.grid_carbon else None, course, shift
    )
    model = ImpactModel(consumed.parameters, site, equipment, Draws(options.draws, options.seed))
    elsewhere = [
        _given(options, site_factors_of(own.model_copy(update=_elsewhere(country)), year), year, ("carbon",))
        for country in options.elsewhere
    ]
    sources = [source_file(folder, path) for path in paths]
    return account, footprint(consumed, model, year, sources, projection, elsewhere)


def site_of(account: Account) -> Site:
    """Return the site of an account's configuration. Raises UserError if it is not valid."""
    site: Site = validate(dict(account.config.get("site") or {}), Site, "account.json: config.site")
    return site


def _hardware_of(account: Account) -> dict[str, OwnEquipment]:
    return TypeAdapter(dict[str, OwnEquipment]).validate_python(account.config.get("hardware") or {})


def _shift(start: str | None, account: Account, course: GridCourse | None) -> datetime.timedelta:
    """Return by how much jobs are moved for the first one to begin at a time. Raises UserError for another text."""
    if start is None or not account.jobs:
        return datetime.timedelta()
    if course is None:
        raise UserError(f"--start {start}: needs a series of the grid's carbon; give one as site.series")
    try:
        wanted = datetime.datetime.fromisoformat(start)
    except ValueError:
        raise UserError(f"--start {start}: expected a time such as 2025-06-01T02:00+02:00") from None
    if wanted.tzinfo is None:
        raise UserError(f"--start {start}: expected a time with its zone, such as 2025-06-01T02:00+02:00 or …Z")
    return wanted - min(datetime.datetime.fromisoformat(row.started) for row in account.jobs)


def _elsewhere(country: str) -> dict[str, object]:
    """Return the changes to a site that move it to a country: a grid factor of the user's own stays behind."""
    factors = ("region", "carbon_g_per_kWh", "carbon_source", "carbon_year")
    return {"country": country, **dict.fromkeys(factors)}


def _site(options: FootprintOptions, own: Site, year: int, own_year: int | None) -> tuple[SiteFactors, list[str]]:
    """Return the factors of the site that is asked for, and where it is not the study's own."""
    projection = []
    place = own
    if options.country is not None and options.country != own.country:
        place = own.model_copy(update=_elsewhere(options.country))
        projection.append(f"place {options.country} instead of {own.country}")
    if own_year is not None and year != own_year:
        projection.append(f"factors of {year} instead of {own_year}")
    return _given(options, site_factors_of(place, year), year), projection


def _given(options: FootprintOptions, site: SiteFactors, year: int, without: tuple[str, ...] = ()) -> SiteFactors:
    """Return a site's factors with those that the user gives."""
    given: dict[str, Any] = {
        KINDS[option].field: given_factor(option, text, year, options.currency)
        for option, text in options.given.items()
        if option not in without
    }
    return replace(site, **given) if given else site
