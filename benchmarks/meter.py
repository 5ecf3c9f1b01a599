"""Does the meter count every joule once? Ours, CodeCarbon and Zeus side by side on the same simulated hardware.

    pip install --constraint envs/constraints.txt --editable '.[benchmarks]'      # Zeus (CodeCarbon is there already)
    python benchmarks/meter.py                          # all rows, about half an hour
    python benchmarks/meter.py --only ticking rapl      # some of them
    python benchmarks/meter.py --quick                  # fewer and shorter jobs: to test whether all works
    python benchmarks/meter.py --peers other/bin/python # CodeCarbon and Zeus of a separate environment
    python benchmarks/meter.py --traces FOLDER          # recorded power: CSVs of a card's readings and of its supply

The hardware is simulated (tests/hardware): its power is a known function of time, so its integral is the truth. Each
tool runs in separate processes. Exit status 1 if a target is missed. Close all other programs first.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from meter_rows import costs, crashes, gpu, leases, processors, recorded
from meter_rows.row import as_table
from meter_rows.workbench import Workbench

ROWS = {
    "ideal": gpu.ideal_counter,
    "ticking": gpu.ticking_counter,
    "polled": gpu.no_counter,
    "recorded": recorded.rtx3090,
    "rapl": processors.rapl,
    "modelled": processors.modelled,
    "killed": crashes.killed_at_random,
    "start": costs.start_and_stop,
    "sampling": costs.sampling,
    "slowdown": costs.slowdown,
    "scale": costs.attribution_at_scale,
    "leases": leases.many_want_two,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter jobs; the figures are not precise")
    parser.add_argument("--peers", type=Path, default=Path(sys.executable), help="Python with CodeCarbon and Zeus")
    parser.add_argument("--no-peers", dest="peers", action="store_const", const=None, help="ours only")
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="rtx3090-square-{true,polled}.csv.gz (SC24 data)")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(Path(folder), arguments.quick, arguments.peers, arguments.traces)
        for name in arguments.only or ROWS:
            began_s = time.monotonic()
            found = ROWS[name](bench)
            print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
            for row in found:
                print(*row.cells(), sep=" | ", file=sys.stderr, flush=True)
            rows += found
    print(as_table(rows))
    met = [row.met for row in rows if row.met is not None]
    print(f"\n{sum(met)} of {len(met)} targets met")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
