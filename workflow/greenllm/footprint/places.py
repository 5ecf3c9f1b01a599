"""The places that factors are known for, by code and by name: countries, their parts, providers, devices."""

import difflib
import functools
from collections.abc import Mapping
from pathlib import Path

from greenllm.errors import UserError, quoted
from greenllm.footprint.codecarbon_tables import regions, territories
from greenllm.footprint.factor import Factor
from greenllm.footprint.factor_kinds import KINDS
from greenllm.footprint.grid_carbon import GRID_CARBON, WORLD, grid_carbon, tables

UNKNOWN = "unknown"


@functools.cache
def country_names() -> Mapping[str, str]:
    """Return the names of all countries and territories by ISO 3166 alpha-3 code."""
    return {code: row.country_name for code, row in sorted(territories().items())}


@functools.cache
def names_of_places(own: tuple[Path, ...] = ()) -> Mapping[str, str]:
    """Return the names of all places by code; a provider or device is its own name.

    Raises UserError if a table of the user's is not valid.
    """
    found = {place: place for name in KINDS for place in tables(own).places(name)}
    parts = {code: f"{region.name}, {country_names()[region.country]}" for code, region in regions().items()}
    return {**found, **country_names(), **parts, WORLD: "World"}


def place_of(text: str, own: tuple[Path, ...] = ()) -> str:
    """Return the code of a place, given by code or by name, in upper or lower case.

    Raises UserError with the nearest places if there is none.
    """
    known = names_of_places(own)
    codes = {code.casefold(): code for code in known}
    names = {name.casefold(): code for code, name in known.items()}
    parts = {region.name.casefold(): code for code, region in regions().items()}
    wanted = text.strip().casefold()
    for spelling in (codes, names, parts):
        if wanted in spelling:
            return spelling[wanted]
    raise UserError(
        f"no factors of a place {quoted(text)}{near(wanted, {**parts, **names, **codes}, known)}; "
        "`greenllm factors` lists the places"
    )


def near(wanted: str, spellings: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Return `; did you mean …?` with up to three places of similar spelling (`spellings`: text → code)."""
    close = difflib.get_close_matches(wanted.casefold(), spellings, n=5, cutoff=0.6)
    codes = list(dict.fromkeys(spellings[text] for text in close))[:3]
    shown = [code if names.get(code, code) == code else f"{code} ({names[code]})" for code in codes]
    return f"; did you mean {' or '.join(shown)}?" if shown else ""


def factors_of(place: str, year: int, own: tuple[Path, ...] = ()) -> list[Factor]:
    """Return all that is known of a place, of all years, by kind, the newest first."""
    found = [factor for name in KINDS for factor in tables(own).all_of(name, place)]
    if place == WORLD and all(factor.name != GRID_CARBON for factor in found):
        mean = grid_carbon(WORLD, year, own)
        found = [*([] if mean is None else [mean]), *found]
    return found
