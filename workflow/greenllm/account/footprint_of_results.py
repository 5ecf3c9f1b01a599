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
from greenllm.footprint.series import RecordedSeries
from greenllm.footprint.site_factors import (
    SiteFactors,
    own_tables_of,
    recorded_carbon_of,
    require_currency,
    site_factors_of,
    with_bounds_of,
)
from greenllm.study import layout

REMEDY = "expected a results folder in which `greenllm account` has been run; run it first"
YEAR = 2026  # of the factors, for an account without any job
# Keys of `site` that another country does not have.
OF_THE_PLACE = (
    "region", "carbon_g_per_kWh", "carbon_source", "carbon_year", "market_carbon_g_per_kWh", "market_carbon_source",
    "price_per_kWh", "currency", "price_source", "price_year",
)  # fmt: skip


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
    equipment = equipment_of(_hardware_of(account), attribution.gpus, year, own_tables_of(own))
    course = recorded_carbon_of(own) if options.country is None and "carbon" not in options.given else None
    shift = _shift(options.start, account, course)
    if shift:
        projection.append(f"begun at {options.start}")
    site = _in_time(site, course, account, shift)
    consumed = Consumed(
        account, attribution, equipment, site.grid_carbon.value if site.grid_carbon else None, course, shift
    )
    model = ImpactModel(consumed.parameters, site, equipment, Draws(options.draws, options.seed))
    elsewhere = [
        _given(options, _moved(own, country, year, "--elsewhere"), own, year, ("carbon",))
        for country in options.elsewhere or own.elsewhere
    ]
    sources = [source_file(folder, path) for path in paths]
    return account, footprint(consumed, model, year, sources, projection, elsewhere)


def _in_time(
    site: SiteFactors, course: RecordedSeries | None, account: Account, shift: datetime.timedelta
) -> SiteFactors:
    """Return the site with the bounds of the grid's recorded series, where it covers the study."""
    if course is None or site.grid_carbon is None or not account.jobs or account.until is None:
        return site
    begin, end = (
        datetime.datetime.fromisoformat(moment) + shift
        for moment in (min(row.started for row in account.jobs), account.until)
    )
    return replace(site, grid_carbon=with_bounds_of(site.grid_carbon, course, begin, end))


def site_of(account: Account) -> Site:
    """Return the site of an account's configuration. Raises UserError if it is not valid."""
    site: Site = validate(dict(account.config.get("site") or {}), Site, "account.json: config.site")
    return site


def _hardware_of(account: Account) -> dict[str, OwnEquipment]:
    return TypeAdapter(dict[str, OwnEquipment]).validate_python(account.config.get("hardware") or {})


def _shift(start: str | None, account: Account, course: RecordedSeries | None) -> datetime.timedelta:
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


def _moved(own: Site, country: str, year: int, option: str) -> SiteFactors:
    """Return the factors of a site in another country.

    The user's own factor of the grid, the contract and the price of electricity are of the old place and stay behind;
    what is of the building, such as its PUE, moves. Raises UserError, which names the option, for an unknown country.
    """
    try:
        return site_factors_of(own.model_copy(update={"country": country, **dict.fromkeys(OF_THE_PLACE)}), year)
    except UserError as error:
        raise UserError(str(error).replace("config: site.country:", f"{option}:")) from None


def _site(options: FootprintOptions, own: Site, year: int, own_year: int | None) -> tuple[SiteFactors, list[str]]:
    """Return the factors of the site that is asked for, and where it is not the study's own.

    Raises UserError for a year before all factors of the grid.
    """
    projection = []
    if options.country is None or options.country == own.country:
        site = site_factors_of(own, year)
    else:
        site = _moved(own, options.country, year, "--country")
        projection.append(f"place {options.country} instead of {own.country}")
    if own_year is not None and year != own_year:
        projection.append(f"factors of {year} instead of {own_year}")
    oldest = site.grid_carbon.year if site.grid_carbon else None
    if options.year is not None and oldest is not None and options.year < oldest and "carbon" not in options.given:
        raise UserError(
            f"--year {options.year}: the oldest factor of the grid of {site.place} is of {oldest}; expected a year "
            f"from {oldest}, or that year's factor as --carbon"
        )
    return _given(options, site, own, year), projection


def _given(
    options: FootprintOptions, site: SiteFactors, own: Site, year: int, without: tuple[str, ...] = ()
) -> SiteFactors:
    """Return a site's factors with those that the user gives. Raises UserError for a price without its currency."""
    currency = options.currency or own.currency or ""
    price = options.given.get("price")
    if price is not None and not currency:
        raise UserError(f"--price {price}: has no currency; give it as well, such as --currency EUR")
    if options.currency and price is None:
        raise UserError(f"--currency {options.currency}: belongs to --price, which is missing; give both")
    if options.currency:
        require_currency(options.currency, "--currency")
    given: dict[str, Any] = {
        KINDS[option].field: given_factor(option, text, year, currency)
        for option, text in options.given.items()
        if option not in without
    }
    return replace(site, **given) if given else site
