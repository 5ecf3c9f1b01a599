"""`greenllm collect-model`: fetch a model that is already trained."""

import argparse
from pathlib import Path

from greenllm.data.pretrained import collect_model


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--init", required=True, metavar="ID_OR_FOLDER", help="a local folder, or a Hugging Face model id"
    )
    parser.add_argument("--revision", help="hub: commit or tag (default: the newest; the one taken is noted)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="gets the model's files and source.json"
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch or copy the model."""
    collect_model(arguments.init, arguments.revision, arguments.out)
    return 0
