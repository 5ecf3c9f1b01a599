"""`greenllm preprocess`: clean and split a data set, train its tokenizer."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from greenllm.config.models import Preprocessing
from greenllm.config.read import read_settings
from greenllm.data.preparation import prepare
from greenllm.errors import UserError
from greenllm.tasks import TASKS
from greenllm.work import write_work

if TYPE_CHECKING:
    from greenllm.data.chat import PromptTemplate


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="the application")
    parser.add_argument(
        "--settings", required=True, help="the experiment's `preprocess` section: JSON or YAML, or a file of it"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="what `greenllm collect` wrote")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="use the tokenizer of this model (default: train one)"
    )
    parser.add_argument(
        "--chat", action="store_true", help="put each prompt into the chat template of --model, as instruct models need"
    )
    parser.add_argument("--system", metavar="TEXT", help="with --chat: the system message before each prompt")
    parser.add_argument(
        "--context",
        metavar="TOKENS",
        help="refuse test prompts that leave no room for an answer in a context of TOKENS; `model`: that of --model",
    )
    parser.add_argument(
        "--evaluated-rows",
        type=int,
        default=0,
        metavar="N",
        help="number of test rows that will be evaluated and must have room (default 0: all)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="gets the splits, tokenizer/ and report.json"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prepare, and report the numbers of rows (samples) and tokens to the meter."""
    settings = read_settings(arguments.settings, Preprocessing)
    chat = _chat(arguments)
    report = prepare(
        TASKS[arguments.task],
        settings,
        arguments.data,
        arguments.model,
        arguments.out,
        chat,
        context=_context(arguments),
        evaluated_rows=arguments.evaluated_rows or None,
        system=arguments.system,
    )
    splits = report.splits.values()
    write_work(
        samples=sum(split.rows for split in splits), tokens=sum(split.tokens.sum for split in splits if split.tokens)
    )
    return 0


def _context(arguments: argparse.Namespace) -> int | None:
    """Return the model's context length in tokens; None if it is unknown."""
    given: str | None = arguments.context
    if given is None:
        return None
    if given == "model" and arguments.model is not None:
        from greenllm.model_folder.manifest import read_manifest

        return read_manifest(arguments.model).context
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"--context {given}: expected a number of tokens, or `model` with --model")
    return int(given)


def _chat(arguments: argparse.Namespace) -> "PromptTemplate | None":
    if not arguments.chat:
        return None
    if arguments.model is None:
        raise UserError("--chat: needs --model, which has the chat template")
    from greenllm.data.chat import PromptTemplate

    return PromptTemplate(arguments.model, arguments.system)
