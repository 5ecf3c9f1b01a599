"""What `greenllm train` and `greenllm compress` share: one step of a recipe, from a model folder to another."""

import argparse
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from greenllm.config.models import Model, Training
from greenllm.config.read import read_settings
from greenllm.config.section import overridden
from greenllm.device_choice import DEVICE_CHOICES
from greenllm.errors import UserError
from greenllm.files import require_replaceable
from greenllm.key_values import key_values
from greenllm.meter.planned_start import PAUSED
from greenllm.meter.threads import usable_threads
from greenllm.option_ranges import seed
from greenllm.paths import expanded
from greenllm.recipes import Job, Step
from greenllm.study.models import Recipe
from greenllm.training import checkpoints, nodes, parallel
from greenllm.work import write_work

if TYPE_CHECKING:
    from greenllm.training.planned_batches import Work


def configure(parser: argparse.ArgumentParser, *, recipe: str | None) -> None:
    """Declare the options; `recipe` is the recipe where none is given, None where one is needed."""
    parser.add_argument(
        "--recipe", default=recipe, required=recipe is None, help="the recipe: JSON or YAML, or a file of it"
    )
    parser.add_argument("--settings", default="{}", help="training settings: JSON or YAML, or a file of it")
    parser.add_argument("--model", help="from scratch: size and context (tokens): JSON or YAML, or a file of it")
    parser.add_argument("--from", dest="parent", type=Path, help="folder of the model to start from")
    parser.add_argument(
        "--other", action="append", default=[], metavar="RECIPE=FOLDER", help="another model that the step reads"
    )
    parser.add_argument("--data", type=Path, help="folder that `greenllm preprocess` wrote")
    parser.add_argument("--seed", type=seed, default=1, help="of the initial weights and the order of batches")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number trains other weights")
    parser.add_argument("--device", choices=DEVICE_CHOICES, default="auto", help="require: a GPU or nothing")
    parser.add_argument("--checkpoints", type=Path, help="folder for checkpoints; a killed training resumes from them")
    parser.add_argument(
        nodes.JOIN,
        metavar="NODE@HOST:PORT",
        help="train as this node (from 1) of `train.nodes`; so the first node, at HOST:PORT, starts the others",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and what is known of it")


def make(arguments: argparse.Namespace, stage: Literal["train", "compress"]) -> int:
    """Make the model; return 130 where the user interrupts, 75 where a training has paused as planned.

    Raises UserError where the recipe has no step of this stage, or the step can't be done.
    """
    recipe = read_settings(arguments.recipe, Recipe, option="--recipe")
    if len(recipe.steps) > 1:
        keys = " and ".join(step.key for step in recipe.steps)
        raise UserError(f"--recipe: {keys} in one recipe; make a model by each, the second with --from the first's")
    step: Step | None = recipe.step
    if step is None or step.stage != stage:
        raise UserError(f"--recipe: has nothing to {stage}; expected a step such as {_example(stage)}")
    threads = usable_threads(arguments.threads)
    # These are read once, when the libraries are imported.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_MININTERVAL", "5")
    # The workflow's settings have the recipe's own on top already.
    settings = overridden(read_settings(arguments.settings, Training), recipe.training)
    model = read_settings(arguments.model, Model, option="--model") if arguments.model else None
    others = key_values("--other", arguments.other, "RECIPE=FOLDER")
    job = Job(
        out=arguments.out,
        stage=stage,
        training=settings,
        parent=arguments.parent,
        model=model,
        others={name: expanded(Path(folder)) for name, folder in others.items()},
        data=arguments.data,
        checkpoints=arguments.checkpoints,
        seed=arguments.seed,
        threads=threads,
        device=arguments.device,
        report_work=_report_work,
    )
    require_replaceable(job.out, stage, job.inputs)
    if job.checkpoints is not None:
        checkpoints.require_only_checkpoints(job.checkpoints)
    try:
        if step.trains_by is not None and settings.all_processes > 1:
            work = partial(step.make, job)
            return parallel.launch(work, settings, threads=threads, device=arguments.device, join=arguments.join)
        step.make(job)
    except checkpoints.PausedError as paused:
        print(f"greenllm {stage}: {paused}; run again to go on", file=sys.stderr)
        return PAUSED
    except KeyboardInterrupt:
        resume = f" to resume from the newest checkpoint in {arguments.checkpoints}" if arguments.checkpoints else ""
        print(f"greenllm {stage}: interrupted; run again{resume}", file=sys.stderr)
        return 130
    return 0


def _report_work(work: "Work") -> None:
    write_work(**{name: amount for name, amount in asdict(work).items() if amount is not None})


def _example(stage: str) -> str:
    return "{train: {}}" if stage == "train" else "{quantize: int8}"
