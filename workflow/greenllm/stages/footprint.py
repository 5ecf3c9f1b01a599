"""`greenllm footprint`: what a study's energy means at a site, in carbon, water and money; no job runs."""

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenllm.account.document import Account
    from greenllm.account.footprint_document import Footprint
    from greenllm.config.models import OwnEquipment, Site
    from greenllm.footprint.grid_course import GridCourse
    from greenllm.footprint.site_factors import SiteFactors

HELP = {
    "carbon": "carbon of the grid, in gCO2e/kWh (default: that of the place)",
    "marginal-carbon": "marginal carbon of the grid, in gCO2e/kWh",
    "market-carbon": "carbon of the electricity by contract, in gCO2e/kWh, reported beside the grid's",
    "grid-water": "water consumed where the electricity is generated, in L/kWh",
    "pue": "energy of the site for each kWh of its IT equipment (at least 1)",
    "wue": "water used on site, in L for each kWh of the IT equipment",
    "erf": "share of the site's energy that is reused, 0 to 1",
    "renewable": "share of the site's energy that is renewable, 0 to 1",
    "heat-carbon": "carbon of the heating that reused heat displaces, in gCO2e/kWh",
    "price": "price of electricity for each kWh",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder, with its account/")
    parser.add_argument("--country", metavar="C", help="ISO 3166 alpha-3 code, or WORLD (default: the study's site)")
    parser.add_argument("--year", type=int, metavar="Y", help="year of the factors (default: that of the last job)")
    for option, text in HELP.items():
        parser.add_argument(
            f"--{option}", metavar="F", help=f"{text}; a number, or LOW:VALUE:HIGH with its 95 %% bounds"
        )
    parser.add_argument("--currency", metavar="CODE", default="", help="currency of the price, such as EUR")
    parser.add_argument(
        "--start", metavar="TIME", help="as if the first job had begun then (ISO 8601): needs a series of the grid"
    )
    parser.add_argument(
        "--elsewhere",
        action="append",
        default=[],
        metavar="C",
        help="project the total to this country, too (repeat; default: site.elsewhere of the configuration)",
    )
    parser.add_argument("--draws", type=int, default=10_000, metavar="N", help="draws of the Monte Carlo (10000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the Monte Carlo (1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all numbers as JSON (J, g, L, kWh)")
    parser.add_argument(
        "--table", type=Path, metavar="PATH",
        help="write the table of stages and recipes, too: to its stem .csv, .parquet, .md and .tex are added",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Print the footprint's tables, or its JSON."""
    from greenllm.errors import UserError
    from greenllm.files import write_json
    from greenllm.printing import print_json

    if not 100 <= arguments.draws <= 1_000_000:
        raise UserError(f"--draws {arguments.draws}: expected 100 to 1000000")
    account, found = _footprint(arguments)
    written = found.model_dump(mode="json", by_alias=True)
    if arguments.out:
        write_json(arguments.out, written)
    if arguments.table:
        from greenllm.report.table import ENDINGS
        from greenllm.report.tables.footprint import footprint_table

        prefix = arguments.table.with_suffix("") if arguments.table.suffix in ENDINGS else arguments.table
        table = footprint_table(account, found)
        table.require_own(prefix)
        table.write(prefix)
    if arguments.json:
        print_json(written)
    else:
        from greenllm.report.footprint_text import footprint_text

        print(footprint_text(found))
    return 0


def _footprint(arguments: argparse.Namespace) -> tuple["Account", "Footprint"]:
    from greenllm.account.consumed import Consumed
    from greenllm.account.document import Account
    from greenllm.account.footprint import footprint, source_file
    from greenllm.attribution.stored import StoredAttribution
    from greenllm.footprint.consequences import ImpactModel
    from greenllm.footprint.draws import Draws
    from greenllm.footprint.equipment import equipment_of
    from greenllm.footprint.site_factors import recorded_carbon_of, site_factors_of
    from greenllm.study import layout

    folder: Path = arguments.results
    paths = [layout.located(pattern, folder) for pattern in (layout.ACCOUNT, layout.ATTRIBUTION)]
    remedy = "expected a results folder in which `greenllm account` has been run; run it first"
    account, attribution = Account.read(paths[0], remedy), StoredAttribution.read(paths[1], remedy)
    own_year = int(account.until[:4]) if account.until else None
    year = arguments.year or own_year or 2026
    own = _site_of(account)
    site, projection = _site(arguments, own, year, own_year)
    equipment = equipment_of(_hardware_of(account), attribution.gpus, year)
    course = recorded_carbon_of(own) if arguments.country is None and arguments.carbon is None else None
    shift = _shift(arguments.start, account, course)
    if shift:
        projection.append(f"begun at {arguments.start}")
    consumed = Consumed(
        account, attribution, equipment, site.grid_carbon.value if site.grid_carbon else None, course, shift
    )
    model = ImpactModel(consumed.parameters, site, equipment, Draws(arguments.draws, arguments.seed))
    elsewhere = [
        _given(arguments, site_factors_of(own.model_copy(update=_elsewhere(country)), year), year, ("carbon",))
        for country in arguments.elsewhere or own.elsewhere
    ]
    sources = [source_file(folder, path) for path in paths]
    return account, footprint(consumed, model, year, sources, projection, elsewhere)


def _site_of(account: "Account") -> "Site":
    from greenllm.config.models import Site
    from greenllm.config.read import validate

    site: Site = validate(dict(account.config.get("site") or {}), Site, "account.json: config.site")
    return site


def _hardware_of(account: "Account") -> "dict[str, OwnEquipment]":
    from pydantic import TypeAdapter

    from greenllm.config.models import OwnEquipment

    return TypeAdapter(dict[str, OwnEquipment]).validate_python(account.config.get("hardware") or {})


def _shift(start: str | None, account: "Account", course: "GridCourse | None") -> datetime.timedelta:
    """Return by how much jobs are moved for the first one to begin at a time. Raises UserError for another text."""
    from greenllm.errors import UserError

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


def _site(
    arguments: argparse.Namespace, own: "Site", year: int, own_year: int | None
) -> tuple["SiteFactors", list[str]]:
    """Return the factors of the site that is asked for, and where it is not the study's own."""
    from greenllm.footprint.site_factors import site_factors_of

    projection = []
    place = own
    if arguments.country is not None and arguments.country != own.country:
        place = own.model_copy(update=_elsewhere(arguments.country))
        projection.append(f"place {arguments.country} instead of {own.country}")
    if own_year is not None and year != own_year:
        projection.append(f"factors of {year} instead of {own_year}")
    return _given(arguments, site_factors_of(place, year), year), projection


def _given(
    arguments: argparse.Namespace, site: "SiteFactors", year: int, without: tuple[str, ...] = ()
) -> "SiteFactors":
    """Return a site's factors with those that the user gives."""
    from dataclasses import replace

    from greenllm.footprint.given import KINDS, given_factor

    texts = {option: getattr(arguments, option.replace("-", "_")) for option in KINDS if option not in without}
    given: dict[str, Any] = {
        KINDS[option].field: given_factor(option, text, year, arguments.currency)
        for option, text in texts.items()
        if text is not None
    }
    return replace(site, **given) if given else site
