"""`greenllm measure`: serve bundles side by side, and measure the time and energy of a request to each."""

import argparse
import os
import signal
import sys
from pathlib import Path

from greenllm.attribution.live import UnknownEnergyError, this_job
from greenllm.config.models import Deployment, Evaluation
from greenllm.config.read import read_settings
from greenllm.device_choice import DEVICE_CHOICES
from greenllm.errors import UserError
from greenllm.files import require_separate, require_writable
from greenllm.key_values import key_values
from greenllm.load.measure import measure
from greenllm.load.measurement_job import TWIN, Contender, MeasurementJob
from greenllm.load.processes import run_under_meter
from greenllm.meter.threads import usable_threads
from greenllm.model_folder.manifest import read_manifest
from greenllm.option_ranges import seed


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--settings", default="{}", help="deployment settings: JSON or YAML, or a file of it")
    add("--evaluation-settings", default="{}", help="evaluation settings, for the longest answer in tokens")
    form = "RECIPE=FOLDER"
    help = "a bundle that `greenllm deploy` made; once for each recipe, the baseline first"
    add("--bundle", action="append", default=[], metavar=form, help=help)
    help = "JSONL file that `greenllm evaluate` wrote, for each recipe"
    add("--predictions", action="append", default=[], metavar="RECIPE=FILE", help=help)
    add("--python", action="append", default=[], metavar="RECIPE=FILE", help="the Python that runs a recipe's server")
    add("--on-cpu", action="append", default=[], metavar="RECIPE", help="a recipe that uses no GPU; may be repeated")
    add("--threads", type=int, default=1, help="processors that are reserved: the most threads of a server")
    add("--device", choices=DEVICE_CHOICES, default="auto", help="require: fail without a GPU")
    add("--seed", type=seed, default=1, help="seed of the order in each block (default: 1)")
    add("--wildcard", action="append", default=[], metavar="KEY=VALUE", help="a wildcard of this job; may be repeated")
    add("--ready", type=float, default=600, metavar="S", help="longest start of another server (s; default: 600)")
    add("--energy-serve", type=Path, required=True, help="folder for the servers' energy logs (J)")
    add("--energy-load", type=Path, required=True, help="folder for the load generators' energy logs (J)")
    add("--energy-probe", type=Path, required=True, help="folder for the energy logs of the probing of threads (J)")
    add("--out", type=Path, required=True, help="JSON file of the measurement (s, J, requests/s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure; return 1 if every server failed. Without a meter, start again under one."""
    bundles = key_values("--bundle", arguments.bundle, "RECIPE=FOLDER")
    predictions = key_values("--predictions", arguments.predictions, "RECIPE=FILE")
    pythons = key_values("--python", arguments.python, "RECIPE=FILE")
    if not bundles:
        raise UserError("--bundle: is missing; expected RECIPE=FOLDER, a bundle that `greenllm deploy` made")
    if unknown := bundles.keys() ^ predictions.keys():
        raise UserError(f"--predictions: expected one for each --bundle; only one of both is there for {min(unknown)}")
    for option, names in (("--python", pythons), ("--on-cpu", arguments.on_cpu)):
        if unknown := set(names) - bundles.keys():
            raise UserError(f"{option} {min(unknown)}: expected one of the recipes that have a --bundle")
    inputs = [Path(path) for path in (*bundles.values(), *predictions.values())]
    require_separate([arguments.out], inputs)
    for folder in (arguments.energy_serve, arguments.energy_load, arguments.energy_probe):
        require_writable(folder)
    settings = read_settings(arguments.settings, Deployment)
    evaluation = read_settings(arguments.evaluation_settings, Evaluation, option="--evaluation-settings")
    endpoints = [endpoint for path in bundles.values() if (endpoint := read_manifest(Path(path)).endpoint)]
    if not os.environ.get("GREENLLM_METER_ID"):
        claimed = next((endpoint.cgroup for endpoint in endpoints if endpoint.cgroup), None)
        run_under_meter("measure", ledger=arguments.out.parent / "ledger", threads=arguments.threads, cgroup=claimed)
    signal.signal(signal.SIGTERM, _interrupt)  # so that the servers are stopped before this process ends
    contenders = [
        Contender(
            name=name,
            recipe=name,
            bundle=Path(bundle),
            predictions=Path(predictions[name]),
            device="cpu" if name in arguments.on_cpu else arguments.device,
            python=pythons.get(name, sys.executable),
        )
        for name, bundle in bundles.items()
    ]
    baseline = contenders[0]
    if settings.twin and not endpoints:
        contenders.append(
            Contender(
                name=baseline.name + TWIN,
                recipe=baseline.recipe,
                bundle=baseline.bundle,
                predictions=baseline.predictions,
                device=baseline.device,
                python=baseline.python,
            )
        )
    try:
        around = this_job()
    except UnknownEnergyError as error:
        raise UserError(f"the energy of this job is unknown: {error}") from None
    written = measure(
        MeasurementJob(
            contenders=contenders,
            baseline=baseline.name,
            wildcards=key_values("--wildcard", arguments.wildcard, empty=True),
            settings=settings,
            max_tokens=evaluation.max_tokens,
            threads=usable_threads(arguments.threads),
            ready_s=arguments.ready,
            seed=arguments.seed,
            energy_serve=arguments.energy_serve,
            energy_load=arguments.energy_load,
            energy_probe=arguments.energy_probe,
            out=arguments.out,
        ),
        around,
    )
    failures = [server for server in written.servers if server.failure is not None]
    for server in failures:
        print(f"greenllm measure: {server.name} is missing: {server.failure}", file=sys.stderr)
    return 1 if len(failures) == len(written.servers) else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
