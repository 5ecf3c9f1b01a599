"""`greenllm deploy`: make the bundle of a model, a folder that serves it."""

import argparse
from pathlib import Path

from greenllm.config.models import Evaluation
from greenllm.config.read import read_settings
from greenllm.documents.evaluation import EvaluationReport
from greenllm.files import read_json, require_replaceable
from greenllm.key_values import key_values
from greenllm.model_folder.manifest import read_manifest
from greenllm.serving.bundle import make_bundle
from greenllm.serving.scripted_replies import Replies


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--task", required=True, help="the application, for the model card")
    help = "evaluation settings, for the confidence below which a person takes over"
    add("--evaluation-settings", default="{}", help=help)
    add("--model", type=Path, required=True, help="model folder")
    add("--evaluation", type=Path, required=True, help="JSON file that `greenllm evaluate` wrote")
    add("--data", type=Path, help="folder that `greenllm preprocess` wrote, for its scripted replies")
    add("--wildcard", action="append", default=[], metavar="KEY=VALUE", help="a wildcard of this job; may be repeated")
    add("--out", type=Path, required=True, help="folder to make: the model, ready to be served")


def run(arguments: argparse.Namespace) -> int:
    """Make the bundle."""
    require_replaceable(arguments.out, "deploy", (arguments.model, arguments.evaluation, arguments.data))
    settings = read_settings(arguments.evaluation_settings, Evaluation, option="--evaluation-settings")
    elsewhere = read_manifest(arguments.model).endpoint is not None  # then no server here could send the replies
    make_bundle(
        arguments.model,
        EvaluationReport.read(arguments.evaluation),
        key_values("--wildcard", arguments.wildcard, empty=True),
        arguments.out,
        task=arguments.task,
        replies=None if elsewhere else _replies(arguments.data, settings.threshold),
    )
    return 0


def _replies(data: Path | None, threshold: float) -> Replies | None:
    """Return the scripted replies in a data folder, if any."""
    if data is None or not (file := data / "replies.json").is_file():
        return None
    return Replies(threshold=threshold, **read_json(file, "expected what `greenllm preprocess` wrote"))
