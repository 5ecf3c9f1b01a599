"""`greenllm train`: train a causal language model on prepared data."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from greenllm.config.models import Model, Training
from greenllm.config.read import read_settings
from greenllm.files import replacing_folder, write_json
from greenllm.threads import usable_threads
from greenllm.work import write_work


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--settings", default="{}", help="training settings: JSON or YAML, or a file of it")
    parser.add_argument("--model", help="from scratch: size and context (tokens): JSON or YAML, or a file of it")
    parser.add_argument("--from", dest="parent", type=Path, help="folder of the model to start from, instead")
    parser.add_argument("--data", type=Path, required=True, help="folder that `greenllm preprocess` wrote")
    parser.add_argument("--seed", type=int, default=1, help="of the initial weights and the order of batches")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number gives other weights")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "require"], default="auto", help="require: a GPU or nothing"
    )
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="folder for checkpoints; a killed training resumes from them"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and training.json")


def run(arguments: argparse.Namespace) -> int:
    """Train; return 130 where the user interrupts."""
    try:
        _train(arguments)
    except KeyboardInterrupt:
        print(
            f"greenllm train: interrupted; run again to resume from the newest checkpoint in {arguments.checkpoints}",
            file=sys.stderr,
        )
        return 130
    return 0


def _train(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments.settings, Training)
    model = read_settings(arguments.model, Model, option="--model") if arguments.model else None
    threads = usable_threads(arguments.threads)
    # These are read once, when the libraries are imported.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_MININTERVAL", "5")

    from greenllm.recipes import checkpoints
    from greenllm.recipes.manifest import manifest
    from greenllm.recipes.training import train

    trained = train(
        settings,
        data=arguments.data,
        checkpoint_folder=arguments.checkpoints,
        seed=arguments.seed,
        threads=threads,
        device=arguments.device,
        model=model,
        parent=arguments.parent,
        report_work=lambda work: write_work(
            samples=work.samples, tokens=work.tokens, **({} if work.flops is None else {"flops": work.flops})
        ),
    )
    tokenizer = arguments.data / "tokenizer"
    with replacing_folder(arguments.out) as folder:
        try:
            trained.model.save_pretrained(folder)
            (folder / "model.safetensors").chmod(0o644)  # safetensors leaves it to its owner alone
            shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
            write_json(folder / "greenllm.json", manifest(folder, engine="transformers", precision="fp32"))
            write_json(folder / "training.json", trained.report)
        except (OSError, RuntimeError) as error:
            needed = 4 * trained.report["parameters"]
            if not checkpoints.no_space(error, folder, needed):
                raise
            raise checkpoints.no_space_error(
                arguments.out.parent, "the model", needed, "make room and run again: the training is kept"
            ) from None
    checkpoints.remove(arguments.checkpoints)
