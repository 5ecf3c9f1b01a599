"""`greenllm deploy`: bundle a model, serve it, and measure the time and energy of a request."""

import argparse
import os
import signal
import sys
from pathlib import Path

from greenllm.config.models import Deployment, Evaluation
from greenllm.config.read import read_settings
from greenllm.device_choice import DEVICE_CHOICES
from greenllm.files import require_replaceable, require_separate
from greenllm.key_values import key_values
from greenllm.load.deployment import deploy
from greenllm.load.deployment_job import DeploymentJob
from greenllm.load.processes import run_under_meter
from greenllm.meter.threads import usable_threads
from greenllm.model_folder.manifest import read_manifest


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--task", required=True, help="the application, for the model card")
    add("--settings", default="{}", help="deployment settings: JSON or YAML, or a file of it")
    add(
        "--evaluation-settings",
        default="{}",
        help="evaluation settings, for the longest answer in tokens and the confidence below which a person takes over",
    )
    add("--model", type=Path, required=True, help="model folder")
    add("--predictions", type=Path, required=True, help="JSONL file that `greenllm evaluate` wrote")
    add("--evaluation", type=Path, required=True, help="JSON file that `greenllm evaluate` wrote")
    add("--data", type=Path, help="folder that `greenllm preprocess` wrote, for its scripted replies")
    add("--threads", type=int, default=1, help="CPU threads of the server")
    add("--device", choices=DEVICE_CHOICES, default="auto", help="require: fail without a GPU")
    add("--bundle", type=Path, required=True, help="folder to make: the model, ready to be served")
    add("--energy-serve", type=Path, required=True, help="gets the server's energy log (J)")
    add("--energy-load", type=Path, required=True, help="gets the load generator's energy log (J)")
    add("--wildcard", action="append", default=[], metavar="KEY=VALUE", help="a wildcard of this job; may be repeated")
    add("--ready", type=float, default=600, metavar="S", help="longest start of another server (s; default: 600)")
    add("--out", type=Path, required=True, help="JSON file of the measurement (s, J, requests/s)")


def run(arguments: argparse.Namespace) -> int:
    """Deploy; return 1 if too few answers agree with evaluate's. Without a meter, start again under one."""
    inputs = (arguments.model, arguments.predictions, arguments.evaluation, arguments.data)
    require_replaceable(arguments.bundle, "deploy", inputs)
    require_separate([arguments.out, arguments.energy_serve, arguments.energy_load], inputs)
    if not os.environ.get("GREENLLM_METER_ID"):
        endpoint = read_manifest(arguments.model).endpoint
        claimed = endpoint.cgroup if endpoint is not None else None
        run_under_meter("deploy", ledger=arguments.out.parent / "ledger", threads=arguments.threads, cgroup=claimed)
    signal.signal(signal.SIGTERM, _interrupt)  # so that the server is stopped before this process ends
    evaluation = read_settings(arguments.evaluation_settings, Evaluation, option="--evaluation-settings")
    settings = read_settings(arguments.settings, Deployment)
    agreement = deploy(
        DeploymentJob(
            task=arguments.task,
            model=arguments.model,
            predictions=arguments.predictions,
            evaluation=arguments.evaluation,
            data=arguments.data,
            wildcards=key_values("--wildcard", arguments.wildcard, empty=True),
            settings=settings,
            answers=evaluation,
            threads=usable_threads(arguments.threads),
            device=arguments.device,
            ready_s=arguments.ready,
            bundle=arguments.bundle,
            energy_serve=arguments.energy_serve,
            energy_load=arguments.energy_load,
            out=arguments.out,
        )
    )
    if agreement.share < settings.agreement:
        print(f"greenllm deploy: {agreement.problem(settings.agreement)}", file=sys.stderr)
        return 1
    return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
