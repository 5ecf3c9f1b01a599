"""`greenllm evaluate`: measure a model's quality on the test split, on the engine that will serve it."""

import argparse
from pathlib import Path

from greenllm.config.models import Evaluation
from greenllm.config.read import read_settings
from greenllm.device_choice import DEVICE_CHOICES
from greenllm.documents.prediction import write_predictions
from greenllm.evaluation.evaluate import evaluate
from greenllm.files import replacing, require_separate
from greenllm.option_ranges import seed
from greenllm.tasks import TASKS
from greenllm.work import write_work


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--task", choices=sorted(TASKS), required=True, help="the application, which has the metrics")
    add("--settings", default="{}", help="evaluation settings: JSON or YAML, or a file of it")
    add("--model", type=Path, required=True, help="model folder")
    add("--data", type=Path, required=True, help="folder that `greenllm preprocess` wrote")
    add("--seed", type=seed, default=1, help="seed of the bootstrap (default: 1)")
    add("--threads", type=int, default=1, help="CPU threads (default: 1)")
    add("--device", choices=DEVICE_CHOICES, default="auto", help="require: fail without a GPU")
    add("--out", type=Path, required=True, help="JSON file of the metrics, with 95 %% intervals")
    add("--predictions", type=Path, required=True, help="JSONL file of every answer (lengths in tokens)")


def run(arguments: argparse.Namespace) -> int:
    """Answer the test rows; write the metrics and every answer."""
    settings = read_settings(arguments.settings, Evaluation)
    require_separate([arguments.out, arguments.predictions], [arguments.model, arguments.data])
    evaluated = evaluate(
        arguments.model,
        arguments.data,
        TASKS[arguments.task],
        settings,
        seed=arguments.seed,
        threads=arguments.threads,
        device=arguments.device,
    )
    with replacing(arguments.predictions) as beside:
        write_predictions(beside, evaluated.predictions)
    report = evaluated.report
    report.write(arguments.out)
    flops = {} if evaluated.flops is None else {"flops": evaluated.flops}
    write_work(samples=report.examples, tokens=report.tokens, **flops)
    return 0
