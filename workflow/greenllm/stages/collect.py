"""`greenllm collect`: fetch or make a data set, with a card of its origin."""

import argparse
from pathlib import Path

from greenllm.config.models import Data
from greenllm.config.read import read_settings
from greenllm.data.collection import collect
from greenllm.tasks import TASKS
from greenllm.work import write_work


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="the application")
    parser.add_argument(
        "--settings", required=True, help="the experiment's `data` section: JSON or YAML, or a file of it"
    )
    parser.add_argument(
        "--base",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where relative paths of data files start (default: here)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="gets train.parquet, maybe test.parquet, and card.json",
    )


def run(arguments: argparse.Namespace) -> int:
    """Collect, and report the number of rows (samples) to the meter."""
    card = collect(TASKS[arguments.task], read_settings(arguments.settings, Data), arguments.base, arguments.out)
    write_work(samples=card.rows)
    return 0
