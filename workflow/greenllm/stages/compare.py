"""`greenllm compare`: the same experiment on several hosts or devices, side by side per unit of work."""

import argparse
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.account.across_hosts import HardwareRow


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "results", type=Path, nargs="+", metavar="RESULTS",
        help="results folders of the same experiment, each with its account/ and ledger/; ratios are to the first",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print all figures (energies in joules)")


def run(arguments: argparse.Namespace) -> int:
    """Print each quantity on each host, with its 95 % interval, and how many times less than on the first it is."""
    from greenllm.account.across_hosts import across_hosts
    from greenllm.account.results_folder import read_results_folder
    from greenllm.errors import UserError
    from greenllm.printing import print_json

    if len(arguments.results) < 2:
        raise UserError(f"{arguments.results[0]} alone: expected two results folders or more to compare")
    found = across_hosts([read_results_folder(folder) for folder in arguments.results])
    if arguments.json:
        print_json(found.model_dump())
        return 0
    from tabulate import tabulate

    names = [string.ascii_uppercase[place % 26] for place in range(len(found.results))]
    for name, one in zip(names, found.results, strict=True):
        print(f"{name}  {one.folder}: {', '.join(one.hosts) or 'not served'}; {', '.join(one.devices)}")
    print()
    headers = ["experiment", "recipe", "", *names, *(f"{name} against {names[0]}" for name in names[1:])]
    print(tabulate([list(_cells(row)) for row in found.rows], headers=headers, disable_numparse=True))
    for row in found.rows:
        for name, reason in zip(names, row.reason, strict=True):
            if reason is not None:
                print(f"\n{row.experiment} {row.recipe}: {row.quantity} in {name} is unknown ({reason})")
    if any(row.measured_once for row in found.rows):
        print("\n* measured once on at least one of them: the interval leaves out how far runs there differ")
    return 0


def _cells(row: "HardwareRow") -> Iterator[str]:
    from greenllm.report.numbers import inverse, quantity, times

    yield from (row.experiment, row.recipe, row.quantity + (" *" if row.measured_once else ""))
    yield from (quantity(energy, "J", " to ") for energy in row.energy_J)
    for ratio, verdict in zip(row.times_less[1:], row.verdict[1:], strict=True):
        if ratio is None:
            yield verdict
        elif verdict == "loss":
            more = inverse(ratio)
            yield "{} times more ({})".format(*times(more))
        else:
            less = "{} times less ({})".format(*times(ratio))
            yield less if verdict == "saves" else f"not resolvable: {less}"
