"""How much of what an oracle would save does `greenllm plan` save on a year of hourly carbon? Measured in one run.

    python benchmarks/schedule.py                # every day and every week of the year
    python benchmarks/schedule.py --every 10     # every tenth

Jobs of 8 h within 24 h and of 24 h within a week, that may pause each hour and that may not, begin at each day's (or
week's) midnight, on a simulated year in the shape of real ones (tests/simulated_grid.py). With a perfect forecast at
least 98 % of the oracle's saving is the target; with a noisy one the regret is reported: the share of the oracle's
saving that is missed. Exit status 1 if a target is missed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulated_grid import Case, forecast, year

TARGET = 0.98
CASES = {
    "8 h within 24 h": Case(8, 24, interruptible=False),
    "8 h within 24 h, may pause": Case(8, 24, interruptible=True),
    "24 h within a week": Case(24, 168, interruptible=False),
    "24 h within a week, may pause": Case(24, 168, interruptible=True),
}


def main() -> int:
    """Print a row a case; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every Nth day and week (1)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the year (1)")
    arguments = parser.parse_args()
    carbon = year(arguments.seed)
    rows, met = [], True
    for name, case in CASES.items():
        rng = np.random.default_rng(arguments.seed)
        most = perfect = noisy = spent = 0.0
        begins = range(0, len(carbon) - case.within + 1, case.within * arguments.every)
        for begin in begins:
            truth = carbon[begin : begin + case.within]
            most += case.most(truth)
            perfect += case.saving(truth, truth)
            noisy += case.saving(forecast(truth, rng), truth)
            spent += float(truth[: case.needed].sum())
        met = met and perfect >= TARGET * most
        rows.append(
            [name, len(begins), f"{most / spent:.1%}", f"{perfect / most:.2%}", f"{noisy / most:.1%}",
             f"{1 - noisy / most:.1%}"]
        )  # fmt: skip
    heads = ["job", "begins", "oracle saves", "of it, perfect forecast", "of it, noisy forecast", "regret"]
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
