"""The tables of electricity that the package codecarbon has: countries, and parts of some countries.

Its files are read without importing the package, which would load its trackers.
"""

import functools
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from greenllm.footprint.factor import Factor

PACKAGE = "codecarbon"
_FOLDER = f"{PACKAGE}/data/private_infra"
_LICENCE = "MIT (package)"
_NO_BOUNDS = "unknown: the table has one annual mean for each place, and no bounds"
_KG_PER_LB = 0.45359237
# codecarbon names Canada's provinces by their names alone; ISO 3166-2 has these codes.
_CANADA = {
    "alberta": "AB", "british columbia": "BC", "manitoba": "MB", "new brunswick": "NB",
    "newfoundland and labrador": "NL", "northwest territories": "NT", "nova scotia": "NS", "nunavut": "NU",
    "ontario": "ON", "prince edward island": "PE", "quebec": "QC", "saskatchewan": "SK", "yukon": "YT",
}  # fmt: skip
# Its names of fuels in the table of Canada, and in the table of carbon intensities.
_FUELS = {
    "naturalGas": "natural_gas", "nuclear": "nuclear", "petroleum": "petroleum", "biomass": "biomass", "coal": "coal",
    "solar": "solar", "wind": "wind", "hydro": "hydroelectricity",
}  # fmt: skip


class Territory(BaseModel):
    """A country's electricity in one year: carbon intensity (gCO2e/kWh) and generation (TWh)."""

    country_name: str
    year: int
    carbon_intensity: float
    total_TWh: float


@dataclass(frozen=True)
class Region:
    """A part of a country: ISO 3166-2 code or bidding zone, name, the country's ISO 3166 alpha-3 code."""

    code: str
    name: str
    country: str
    grid_carbon: Factor


class _StateRow(BaseModel):
    """eGRID's rate of a state, in pounds of CO2e for each MWh."""

    emissions: float
    regionCode: str


class _ZoneRow(BaseModel):
    """The carbon intensity (g/kWh) of a province or a bidding zone."""

    emission_factor: float
    description: str
    year: int


def _read(name: str, model: Any) -> Any:
    package = importlib.metadata.distribution(PACKAGE)
    return TypeAdapter(model).validate_json(Path(str(package.locate_file(f"{_FOLDER}/{name}"))).read_bytes())


def _from(name: str) -> str:
    return f"{name} of {PACKAGE} {importlib.metadata.version(PACKAGE)}"


@functools.cache
def territories() -> Mapping[str, Territory]:
    """Return all countries and territories by ISO 3166 alpha-3 code."""
    found: Mapping[str, Territory] = _read("global_energy_mix.json", dict[str, Territory])
    return found


@functools.cache
def country_factors() -> tuple[Factor, ...]:
    """Return the grid carbon of all countries that is known."""
    source = f"Our World in Data and Ember, from {_from('global_energy_mix.json')}"
    return tuple(
        Factor(
            name="grid carbon",
            place=code,
            value=row.carbon_intensity,
            interval=_NO_BOUNDS,
            unit="gCO2e/kWh",
            year=row.year,
            source=source,
            licence=f"CC BY 4.0 (data), {_LICENCE}",
            note="life cycle, of the electricity produced",
        )
        for code, row in territories().items()
        # The Central African Republic's hydropower is rounded to 0 in the table: that is an unknown, not a zero.
        if row.carbon_intensity > 0
    )


@functools.cache
def regions() -> Mapping[str, Region]:
    """Return the parts of countries by code: states of the USA, provinces, bidding zones of Norway and Sweden."""
    found = [*_states(), *_canada(), *_china(), *_nordic()]
    return {region.code: region for region in found}


def _region(
    code: str, name: str, country: str, value: float, year: int | None, source: str, licence: str, note: str
) -> Region:
    factor = Factor(
        name="grid carbon",
        place=code,
        value=round(value, 2),
        interval=_NO_BOUNDS,
        unit="gCO2e/kWh",
        year=year,
        source=source,
        licence=licence,
        note=note,
    )
    return Region(code, name, country, factor)


def _states() -> Iterator[Region]:
    table = _read("2023/usa_emissions.json", dict[str, dict[str, Any]])
    origin = table["_source"]
    source = f"{origin['name']}, from {_from('usa_emissions.json')}"
    for name, cells in table.items():
        if not name.startswith("_") and name != "usa":
            row = _StateRow.model_validate(cells)
            g_per_kWh = row.emissions * _KG_PER_LB
            yield _region(
                f"US-{row.regionCode}", name.title(), "USA", g_per_kWh, int(origin["year"]), source,
                f"public domain (EPA), {_LICENCE}", "direct emissions, of the electricity produced",
            )  # fmt: skip


def _canada() -> Iterator[Region]:
    intensity = _read("carbon_intensity_per_source.json", dict[str, float | str])
    source = f"mix of fuels and life-cycle intensity of each, from {_from('canada_energy_mix.json')}"
    for name, mix in _read("2023/canada_energy_mix.json", dict[str, dict[str, float]]).items():
        shares = {fuel: mix[key] for key, fuel in _FUELS.items()}
        known = sum(shares.values())
        grams = sum(share * float(intensity[fuel]) for fuel, share in shares.items()) / known
        yield _region(
            f"CA-{_CANADA[name]}", name.title(), "CAN", grams, 2023, source, _LICENCE,
            "the year is that of the table's folder; the table itself has none",
        )  # fmt: skip


def _zones(name: str) -> tuple[dict[str, _ZoneRow], str]:
    table = _read(name, dict[str, dict[str, Any]])
    rows = TypeAdapter(dict[str, _ZoneRow]).validate_python(table["data"])
    return rows, str(table["metadata"]["source"]).rstrip(".")


def _china() -> Iterator[Region]:
    rows, origin = _zones("2023/china_provincial_emissions.json")
    source = f"{origin}, from {_from('china_provincial_emissions.json')}"
    for code, row in rows.items():
        yield _region(
            code, row.description, "CHN", row.emission_factor, row.year, source, _LICENCE,
            "CO2 alone, direct emissions, with transfers between provinces",
        )  # fmt: skip


def _nordic() -> Iterator[Region]:
    rows, origin = _zones("nordic_emissions.json")
    source = f"{origin}, from {_from('nordic_emissions.json')}"
    countries = {"SE": "SWE", "NO": "NOR"}  # Finland is one zone, which the table of countries has
    for code, row in rows.items():
        if country := countries.get(code[:2]):
            yield _region(
                code, row.description, country, row.emission_factor, row.year, source, _LICENCE,
                "mix of generation with life-cycle intensities; not of the electricity consumed",
            )  # fmt: skip
