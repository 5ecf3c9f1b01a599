"""How often does the interval of a ratio contain the truth? Simulated studies on hosts that are not calm.

    python benchmarks/coverage.py                   # 1,000 studies on each host
    python benchmarks/coverage.py --studies 200

Every study is compared as in an account, with the random order of the blocks and the rule that determines how many
starts there are. Exit status 1 if a target is missed.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulated_starts import BASELINE, Design, Host, studies, truth

LEAST, MOST, BIAS = 0.93, 0.97, 0.01  # targets
HOSTS = {
    "rounds vary by 4 %, starts by 1.5 %": Host(),
    "every other server varies twice as much": Host(unlike=2),
    "slows down by 20 %": Host(drift=0.2),
    "wanders by 10 % within 10 s": Host(wander=0.1),
    "wanders by 10 % within 2 s": Host(wander=0.1, wander_s=2),
    "disturber, 30 % more": Host(disturbed=0.3),
    "all of these": Host(drift=0.2, wander=0.05, disturbed=0.3),
    "later varies twice as much": Host(unsteady=2),
}
DESIGNS = {
    "4 starts, 4 rounds after each": Design(),
    "the same, 3 servers": Design(servers=3),
    "4 starts, then to 3 % (at most 24)": Design(narrow=0.03),
    "the same, 3 servers ": Design(servers=3, narrow=0.03),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies on each host")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation")
    arguments = parser.parse_args()
    rows, missed = [], 0
    for design_name, design in DESIGNS.items():
        for host_name, host in HOSTS.items():
            covered, errors, halves, starts = tallied(host, design, arguments.studies, arguments.seed)
            bias = math.expm1(float(np.mean(errors)))
            met = LEAST <= covered <= MOST and abs(bias) <= BIAS
            missed += not met
            half = math.expm1(float(np.median(halves)))
            figures = [f"{covered:.1%}", f"{bias:+.2%}", f"{half:.1%}", f"{np.median(starts):.0f}"]
            rows.append([design_name, host_name, *figures, "met" if met else "missed"])
    heads = ["design", "host", "covered", "bias", "median half width", "median starts", ""]
    print(tabulate(rows, heads, "pipe", disable_numparse=True))
    targets = f"covered {LEAST:.0%} to {MOST:.0%}, bias at most {BIAS:.0%}"
    print(f"\n{len(rows) - missed} of {len(rows)} targets met ({targets})")
    return int(missed > 0)


def tallied(host: Host, design: Design, number: int, seed: int) -> tuple[float, list[float], list[float], list[int]]:
    """Return the share of intervals that contain the truth, each ratio's error and half width (log), and the starts."""
    inside, errors, halves, starts = [], [], [], []
    for quantity in studies(host, design, number, seed):
        starts.append(len(quantity.recipes[BASELINE][1].runs))
        for server in range(1, design.servers):
            found = quantity.times_less(BASELINE, str(server))
            if found is None:
                raise AssertionError("every simulated server has a ratio")
            inside.append(found.low <= truth(server) <= found.high)
            errors.append(math.log(found.value / truth(server)))
            halves.append(math.log(found.high / found.low) / 2)
    return float(np.mean(inside)), errors, halves, starts


if __name__ == "__main__":
    sys.exit(main())
