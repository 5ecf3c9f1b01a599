"""`greenllm factors`: what is known of a place (carbon, water, PUE, embodied carbon …), with sources; no job runs."""

import argparse
import datetime
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenllm.footprint.factor import Factor

LISTED = {
    "grid carbon": "countries and their parts",
    "PUE": "providers of data centres",
    "embodied gpu": "GPUs",
    "embodied server": "other equipment",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "place",
        nargs="?",
        metavar="PLACE",
        help="country, part of a country, provider or device, by code or name: DEU, US-CA, aws, 'NVIDIA H100'; WORLD; "
        "unknown (a site or device that is not known); without it, the places are listed",
    )
    parser.add_argument(
        "--year", type=int, metavar="Y", help="flag as old what is more than two years older (default: this year)"
    )
    parser.add_argument(
        "--table",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a CSV file of your own, checked and added",
    )
    parser.add_argument("--json", action="store_true", help="print the factors with all that is known of them")


def run(arguments: argparse.Namespace) -> int:
    """Print the factors of a place, or the places."""
    from greenllm.footprint.places import factors_of, place_of
    from greenllm.footprint.site_factors import shown_place
    from greenllm.printing import print_json

    year, own = arguments.year or datetime.datetime.now(datetime.UTC).year, tuple(arguments.table)
    if arguments.place is None:
        _print_places(own, as_json=arguments.json)
        return 0
    place = place_of(arguments.place, own)
    found = factors_of(place, year, own)
    if arguments.json:
        print_json([{**asdict(factor), "outdated": factor.outdated(year)} for factor in found])
    else:
        _print_factors(shown_place(place, own), found, year)
    return 0


def _print_places(own: "Sequence[Path]", as_json: bool) -> None:
    from greenllm.footprint.grid_carbon import tables
    from greenllm.footprint.places import names_of_places
    from greenllm.printing import print_json

    names = names_of_places(tuple(own))
    if as_json:
        print_json(dict(names))
        return
    for kind, title in LISTED.items():
        places = tables(tuple(own)).places(kind)
        shown = [place if names[place] == place else f"{place} {names[place]}" for place in places]
        print(f"{title}: {len(places)}")
        print(textwrap.fill("; ".join(shown), 120, initial_indent="  ", subsequent_indent="  "))
    print("`greenllm factors PLACE` lists the factors of one, `greenllm factors WORLD` those of the whole world.")


def _print_factors(place: str, found: "Sequence[Factor]", year: int) -> None:
    print(place)
    for factor in found:
        bounds = "" if factor.low is None else f" [{factor.low:.4g}, {factor.high:.4g}]"
        dated = "no year" if factor.year is None else str(factor.year)
        old = ", old" if factor.outdated(year) else ""
        print(f"  {factor.name}: {factor.value:.4g}{bounds} {factor.unit} ({dated}{old})")
        licence = f" ({factor.licence})" if factor.licence else ""
        for label, text in (
            ("interval", factor.interval),
            ("source", f"{factor.source}{licence}"),
            ("note", "; ".join(filter(None, (factor.note, factor.retrieved and f"retrieved {factor.retrieved}")))),
        ):
            if text:
                print(textwrap.fill(f"{label}: {text}", 120, initial_indent="      ", subsequent_indent="        "))
