"""`greenllm export`: the account of a results folder in a form that others ask for, or in all that apply."""

import argparse
import sys
from pathlib import Path

ALL = "all"
# Without importing the forms, so that other commands' help stays fast; a test compares them.
NAMES = (
    "cyclonedx", "boamps", "model-card", "codecarbon", "sci", "eu-ai-act", "ai-energy-score", "ro-crate",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder, with its account/")
    parser.add_argument(
        "--to", required=True, action="append", choices=(*NAMES, ALL), metavar="FORM",
        help=f"the form (repeat): {', '.join(NAMES)}; or {ALL}, which writes each that applies",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="folder for the form's files, which is replaced (default: exports/FORM in RESULTS); with several forms "
        "the folder that holds one for each (default: exports in RESULTS)",
    )  # fmt: skip
    parser.add_argument(
        "--footprint", type=Path, metavar="FILE",
        help="the footprint that carbon follows, such as that of another site, as `greenllm footprint` wrote it "
        "(default: account/footprint.json in RESULTS)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and name their folders."""
    from greenllm.exports.forms import FORMS
    from greenllm.exports.writing import export, export_all, read_exported
    from greenllm.study import layout

    exported = read_exported(arguments.results, arguments.footprint)
    folder = layout.located(layout.EXPORTS, arguments.results)
    if ALL in arguments.to:
        out = arguments.out or folder
        for name, reason in export_all(exported, out).items():
            print(out / name if reason is None else f"{name} does not apply: {reason}", file=sys.stderr)
        return 0
    asked = dict.fromkeys(arguments.to)  # each once
    for name in asked:
        out = arguments.out if arguments.out and len(asked) == 1 else (arguments.out or folder) / name
        export(exported, FORMS[name], out)
        print(out, file=sys.stderr)
    return 0
