"""`greenllm collect-model`: fetch a trained model, or record how to ask one that runs behind an endpoint."""

import argparse
from pathlib import Path

from greenllm.config.models import Model
from greenllm.config.read import read_settings
from greenllm.data.model_use import ModelUse
from greenllm.data.pretrained import collect_model, note_endpoint
from greenllm.engines.architectures import KNOWN
from greenllm.model_folder.addresses import is_endpoint


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--settings",
        required=True,
        help="the experiment's `model` section: JSON or YAML, or a file of it; init is a local folder, a GGUF file, "
        "package:NAME for weights that a Python package ships, a Hugging Face model id, or the address of an OpenAI "
        "endpoint",
    )
    parser.add_argument(
        "--engine",
        action="append",
        default=[],
        choices=sorted(KNOWN),
        help="an engine that is to run the model; a model of an architecture that it does not know is refused before "
        "weights are fetched; repeatable",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="gets the model's files and source.json"
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch or copy the model; for an endpoint, record how to ask it."""
    settings = read_settings(arguments.settings, Model)
    if is_endpoint(settings.init):
        note_endpoint(settings, arguments.out)
    else:
        use = ModelUse(chat=settings.chat, engines=tuple(arguments.engine))
        collect_model(settings.init, settings.revision, arguments.out, use)
    return 0
