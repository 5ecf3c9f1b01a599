"""`greenllm check-prompts`: say before a training whether the model will have room for the test prompts."""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, help="folder that `greenllm preprocess` wrote")
    parser.add_argument("--rows", type=int, metavar="N", help="only the first rows of the test split (default: all)")
    context = parser.add_mutually_exclusive_group(required=True)
    context.add_argument("--context", type=int, metavar="TOKENS", help="longest sequence of the model to be trained")
    context.add_argument("--model", type=Path, metavar="FOLDER", help="the model itself, where there is one already")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the longest prompt and the context")


def run(arguments: argparse.Namespace) -> int:
    """Check, and write what was found."""
    from greenllm.data.prompt_lengths import require_room
    from greenllm.files import write_json
    from greenllm.serving.engines.manifest import read_manifest

    context = arguments.context if arguments.model is None else read_manifest(arguments.model).context
    # Of some models the context is known to their engine alone, which then says so when it answers.
    found = {} if context is None else require_room(arguments.data, arguments.rows, context)
    write_json(arguments.out, {"schema": "greenllm/prompts/1", **found})
    return 0
