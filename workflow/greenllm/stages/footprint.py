"""`greenllm footprint`: what a study's energy means at a site, in carbon, water and money; no job runs."""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    from greenllm.account.footprint_options import add_options

    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder, with its account/")
    add_options(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all numbers as JSON (J, g, L, kWh)")
    parser.add_argument(
        "--table", type=Path, metavar="PATH",
        help="write the table of stages and recipes, too: to its stem .csv, .parquet, .md and .tex are added",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Print the footprint's tables, or its JSON."""
    from greenllm.account.footprint_of_results import footprint_of_results
    from greenllm.account.footprint_options import FootprintOptions
    from greenllm.files import write_json
    from greenllm.printing import print_json

    account, found = footprint_of_results(arguments.results, FootprintOptions.of(arguments))
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
