"""The factors of the place where a study ran, and of the equipment that it used."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from greenllm.config.models import EquipmentKind, Site
from greenllm.errors import UserError, listed
from greenllm.footprint.codecarbon_tables import regions
from greenllm.footprint.factor import Factor
from greenllm.footprint.factor_kinds import KINDS, require_plausible
from greenllm.footprint.grid_carbon import WORLD, grid_carbon, tables
from greenllm.footprint.places import UNKNOWN, country_names, names_of_places, near, place_of
from greenllm.footprint.series import RecordedSeries, read_series


@dataclass(frozen=True, kw_only=True)
class SiteFactors:
    """The factors of a site; None is unknown, and so is its consequence."""

    place: str
    grid_carbon: Factor | None  # gCO2e/kWh, location-based mean
    grid_carbon_marginal: Factor | None = None  # gCO2e/kWh
    market_carbon: Factor | None = None  # gCO2e/kWh, by contract
    grid_water: Factor | None = None  # L/kWh, consumed where the electricity is generated
    pue: Factor | None = None  # energy of the site / that of its IT equipment (ISO/IEC 30134-2)
    wue: Factor | None = None  # L/kWh of the IT equipment, on site (ISO/IEC 30134-9)
    erf: Factor | None = None  # energy reused / that of the site (ISO/IEC 30134-6)
    renewable: Factor | None = None  # renewable energy / that of the site (ISO/IEC 30134-3)
    heat_carbon: Factor | None = None  # gCO2e/kWh of the heating that reused heat displaces
    price: Factor | None = None  # per kWh; `unit` names the currency: "EUR/kWh"


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """A kind of equipment that a host has: its embodied carbon (kgCO2e each or for each GB) and its life (years)."""

    kind: EquipmentKind
    name: str  # as sensors or the configuration name it
    embodied: Factor | None
    life: Factor | None


def site_factors_of(site: Site, year: int) -> SiteFactors:
    """Return the factors of a site for results of a year: the configuration's own, else those of its place.

    A provider that is not given, or has no PUE or WUE in the tables, has that of an unknown site, with a wide interval.
    Raises UserError for an unknown country, region or provider, and for a value of the user's that is not plausible or
    has no source.
    """
    own = own_tables_of(site)
    country = _country(site, own)
    region = _region(site, country)
    if region is not None:
        country = regions()[region].country
    place = region or country
    provider = _provider(site, own)

    def known(name: str, *places: str | None) -> Factor | None:
        """Return the factor of the first of the places that has one."""
        found = (tables(own).find(name, one, year) for one in places if one is not None)
        return next((factor for factor in found if factor is not None), None)

    carbon = _own(site, "grid carbon", "carbon_g_per_kWh", "carbon_source", place, site.carbon_year)
    water_places = (place, country, WORLD) if place else ()
    return SiteFactors(
        place=shown_place(place, own) if place else "own factors",
        grid_carbon=carbon or (grid_carbon(place, year, own) if place else None),
        grid_carbon_marginal=known("grid carbon, marginal", place, country),
        market_carbon=_own(site, "market carbon", "market_carbon_g_per_kWh", "market_carbon_source", place)
        or known("market carbon", place, country),
        grid_water=known("grid water", *water_places),
        pue=_own(site, "PUE", "pue", "pue_source", provider) or known("PUE", provider, UNKNOWN),
        wue=_own(site, "WUE", "wue_L_per_kWh", "wue_source", provider) or known("WUE", provider, UNKNOWN),
        erf=_own(site, "ERF", "erf", "erf_source", provider) or known("ERF", provider),
        renewable=_own(site, "renewable share", "renewable_share", "renewable_source", provider)
        or known("renewable share", provider),
        heat_carbon=known("heat carbon", place, country, UNKNOWN),
        price=_price(site, place),
    )


def own_tables_of(site: Site) -> tuple[Path, ...]:
    """Return the user's own tables of factors, those that come first first."""
    return tuple(Path(path) for path in site.factor_tables)


def recorded_carbon_of(site: Site) -> RecordedSeries | None:
    """Return the site's recorded time series of the grid's carbon (gCO2e/kWh); None if it names none.

    Raises UserError, one line that names the file and the row, if the file is not valid or holds something else.
    """
    if site.series is None:
        return None
    series = read_series(Path(site.series))
    unit = KINDS["grid carbon"].unit
    if series.unit != unit:
        raise UserError(f"{site.series}: is in {series.unit}; expected the grid's carbon in {unit} for site.series")
    return series


def with_bounds_of(grid: Factor, series: RecordedSeries, start: datetime, end: datetime) -> Factor:
    """Return a year's factor of the grid with the relative bounds of a series, whose values replace it in time.

    A series without bounds is taken as exact. Where the series does not cover all of the time, the factor stays.
    """
    mean, covered = series.mean_between(start, end)
    if mean is None or covered < 1 or mean <= 0:
        return grid
    low, high = series.bounds_between(start, end) or (mean, mean)
    said = "those of the recorded series" if series.lows else "the recorded series has none and is taken as exact"
    return replace(
        grid, low=grid.value * low / mean, high=grid.value * high / mean, interval=said,
        source=f"{series.source}, by the hour; related to {grid.source}",
    )  # fmt: skip


def shown_place(code: str, own: tuple[Path, ...] = ()) -> str:
    """Return a place as it is shown, such as "Germany (DEU)"."""
    name = names_of_places(own).get(code, code)
    return code if code == WORLD or name == code else f"{name} ({code})"


def _country(site: Site, own: tuple[Path, ...]) -> str | None:
    """Return the code of the site's country. Raises UserError if no table has its grid factor."""
    country = site.country
    if country in (None, WORLD) or country in tables(own).places("grid carbon") or site.carbon_g_per_kWh is not None:
        return country
    spellings = {text.casefold(): code for code, name in country_names().items() for text in (code, name)}
    hint = near(country or "", spellings, country_names())
    raise UserError(
        f"config: site.country: {country!r} has no grid factor in the tables; expected an ISO 3166 alpha-3 code such "
        f"as DEU or CHN, WORLD, or your own factor as site.carbon_g_per_kWh{hint}"
    )


def _region(site: Site, country: str | None) -> str | None:
    """Return the code of the part of the country. Raises UserError if it is unknown, or of another country."""
    if site.region is None or site.carbon_g_per_kWh is not None:
        return None
    inside = {code: region for code, region in regions().items() if country in (region.country, WORLD, None)}
    spellings = {text.casefold(): code for code, region in inside.items() for text in (code, region.name)}
    if code := spellings.get(site.region.casefold()):
        return code
    elsewhere = {text.casefold(): code for code, region in regions().items() for text in (code, region.name)}
    if code := elsewhere.get(site.region.casefold()):
        raise UserError(
            f"config: site.region: {site.region!r} is in {regions()[code].country}, but site.country is {country}; "
            "correct one of them"
        )
    names = {code: region.name for code, region in inside.items()}
    some = f"; known in {country}: {listed(sorted(inside))}" if country != WORLD and inside else ""
    raise UserError(
        f"config: site.region: {site.region!r} is unknown; expected an ISO 3166-2 code such as US-CA or CN-GD, or a "
        f"bidding zone such as SE3{near(site.region, spellings, names) or some}"
    )


def _provider(site: Site, own: tuple[Path, ...]) -> str | None:
    """Return the provider as the tables name it. Raises UserError if they have nothing of it."""
    if site.provider is None:
        return None
    known = {place for name in ("PUE", "WUE", "ERF", "renewable share") for place in tables(own).places(name)}
    if site.provider.casefold() in {place.casefold() for place in known}:
        return place_of(site.provider, own)
    spellings = {place.casefold(): place for place in known}
    hint = near(site.provider, spellings, {}) or f"; known: {listed(sorted(known - {UNKNOWN}))}"
    raise UserError(
        f"config: site.provider: the tables have neither PUE nor WUE of {site.provider!r}{hint}; "
        "without it, give site.pue and site.wue_L_per_kWh yourself"
    )


def _own(site: Site, name: str, key: str, source_key: str, place: str | None, year: int | None = None) -> Factor | None:
    """Return the user's own factor; None if there is none. Raises UserError without a source, or if implausible."""
    value, source = getattr(site, key), getattr(site, source_key)
    if value is None and source is None:
        return None
    if value is None or (source is None and key != "pue"):
        raise UserError(
            f"config: site.{key} and site.{source_key} belong together: expected both or neither; "
            f"give the factor in {KINDS[name].unit}, and where it comes from"
        )
    require_plausible(name, value, f"config: site.{key}")
    return Factor(
        name=name,
        place="own factor" if place in (None, WORLD) else place,
        value=value,
        low=value,  # as with the command, a number without bounds is taken as exact
        high=value,
        interval="none given with the factor, which is taken as exact",
        unit=KINDS[name].unit,
        year=year,
        source=source or "the configuration of the study",
    )


def require_currency(code: str, where: str) -> None:
    """Raise UserError, which starts with `where`, if a code is not one of ISO 4217."""
    from babel.numbers import is_currency  # here, since few studies name a price

    if not is_currency(code):
        raise UserError(f"{where}: {code!r} is no currency; expected a code of ISO 4217, such as EUR or CNY")


def _price(site: Site, place: str | None) -> Factor | None:
    """Return the price of electricity; None if there is none. Raises UserError if its currency or source is missing."""
    given = (site.price_per_kWh, site.currency, site.price_source)
    if all(part is None for part in given):
        return None
    if site.price_per_kWh is None or site.currency is None or site.price_source is None:
        raise UserError(
            "config: site.price_per_kWh, site.currency and site.price_source belong together: expected all or none; "
            "give the price of a kWh, its currency (ISO 4217, such as EUR), and where and when it was valid"
        )
    require_currency(site.currency, "config: site.currency")
    return Factor(
        name="price",
        place="own price" if place in (None, WORLD) else place,
        value=site.price_per_kWh,
        low=site.price_per_kWh,
        high=site.price_per_kWh,
        interval="none given with the price, which is taken as exact",
        unit=f"{site.currency}/kWh",
        year=site.price_year,
        source=site.price_source,
    )
