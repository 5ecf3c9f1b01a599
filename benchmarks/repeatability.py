"""Does the same study find the same savings again? Ratios and their parts, of several runs, pair by pair.

    python benchmarks/repeatability.py results-1 results-2 results-3    # folders of finished runs
    python benchmarks/repeatability.py --measure 5 results              # measure a finished study again, five times

With `--measure` the measurements of a finished study are made again, from the same models, and each account is kept
beside the results. The 95 % intervals of two runs should overlap in at least 95 % of the pairs. Exit status 1 if not.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from greenllm.account.document import Account
from greenllm.estimate import Interval

OVERLAPPING = 0.95  # target
ACCOUNT = "account/account.json"
Ratio = tuple[str, str, str]  # experiment, recipe, cause


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "results", nargs="+", type=Path, help="results folders of finished runs, on one host or several"
    )
    parser.add_argument("--measure", type=int, default=0, metavar="N", help="measure the study again this many times")
    parser.add_argument("--cores", default="2", help="with --measure: Snakemake's --cores")
    arguments = parser.parse_args()
    runs = [dict(_ratios(Account.read(folder / ACCOUNT))) for folder in arguments.results]
    for number in range(arguments.measure):
        kept = _measured_again(arguments.results[0], number + 1, arguments.cores)
        runs.append(dict(_ratios(Account.read(kept))))
    names = [name for name in runs[0] if all(name in run for run in runs)]
    rows, alike, pairs = [], 0, 0
    for name in names:
        found = [run[name] for run in runs]
        overlaps = [one.low <= other.high and other.low <= one.high for one, other in itertools.combinations(found, 2)]
        alike, pairs = alike + sum(overlaps), pairs + len(overlaps)
        rows.append([*name, *(f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in found), all(overlaps)])
    heads = ["experiment", "recipe", "cause", *(f"run {number + 1}" for number in range(len(runs))), "overlap"]
    print(tabulate(rows, heads, "github", disable_numparse=True))
    print(f"\n{alike} of {pairs} pairs of intervals overlap (target: {OVERLAPPING:.0%})")
    return int(alike < OVERLAPPING * pairs)


def _ratios(account: Account) -> Iterator[tuple[Ratio, Interval]]:
    """Yield each ratio to the baseline, each of its parts, and the twin's, with its interval."""
    for name, experiment in account.experiments.items():
        compared = experiment.comparison
        if compared.twin is not None and compared.twin.times_less is not None:
            yield (name, compared.twin.name, "the same model"), compared.twin.times_less
        for row in compared.recipes:
            if row.times_less is not None and not row.is_baseline:
                yield (name, row.recipe, "whole"), row.times_less
            for part in row.parts if len(row.parts) > 1 else ():
                if part.times_less is not None:
                    yield (name, row.recipe, part.change), part.times_less


def _measured_again(results: Path, number: int, cores: str) -> Path:
    """Measure a finished study again and return the kept account."""
    command = [sys.executable, "-m", "snakemake", "--cores", cores, "--quiet", "all", "--forcerun", "measure"]
    subprocess.run([*command, "--config", f"results={results}"], check=True)
    kept = results.with_name(f"{results.name}-account-{number}.json")
    shutil.copy(results / ACCOUNT, kept)
    return kept


if __name__ == "__main__":
    sys.exit(main())
