"""`greenllm watch`: a running workflow, from any machine that sees its results folder."""

import argparse
from pathlib import Path

from greenllm.option_ranges import number

CLEAR = "\x1b[H\x1b[J"  # ECMA-48: cursor to the first cell, erase what follows


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Show the jobs of a running workflow by state, the power (W) of each host, the energy so far (J), and, by "
        "earlier jobs, what is left in J and in time. Nothing is written. Ends with Ctrl-C."
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder, with its ledger/ and runs/")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--json", action="store_true", help="print frames as JSON (J, W, s), one a line without --once")
    every = number(0.1, 3600, "seconds")
    parser.add_argument("--every", type=every, default=2.0, metavar="S", help="seconds between two frames (default: 2)")


def run(arguments: argparse.Namespace) -> int:
    """Print frames until interrupted."""
    import json
    import shutil
    import sys
    import time

    from greenllm.printing import print_json
    from greenllm.watch.frame import ResultsWatch
    from greenllm.watch.text import frame_text

    watch = ResultsWatch(arguments.results)
    while True:
        frame = watch.frame()
        if arguments.json and arguments.once:
            print_json(frame.to_json())
        elif arguments.json:
            print(json.dumps(frame.to_json()), flush=True)
        else:
            on_terminal = sys.stdout.isatty() and not arguments.once
            size = shutil.get_terminal_size() if sys.stdout.isatty() else None
            text = frame_text(frame, size.lines - 1, size.columns) if size else frame_text(frame, 10_000, 10_000)
            print(CLEAR * on_terminal + text, flush=True)
        if arguments.once:
            return 0
        # No more than half of the time is spent on reading, however many ledgers there are.
        time.sleep(max(arguments.every, time.time() - frame.now_s))
