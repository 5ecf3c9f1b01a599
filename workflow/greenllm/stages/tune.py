"""`greenllm tune`: find the setting of a training or a server with the least energy, by short metered probes."""

import argparse
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from greenllm.attribution.live import RunningJob, UnknownEnergyError, this_job
from greenllm.device_choice import DEVICE_CHOICES
from greenllm.errors import UserError
from greenllm.files import require_writable
from greenllm.load.processes import greenllm, run_under_meter
from greenllm.load.thread_probe import candidates
from greenllm.meter.threads import usable_threads
from greenllm.option_ranges import seed

if TYPE_CHECKING:
    from greenllm.tuning.probes import Workload
    from greenllm.tuning.search import Found
    from greenllm.tuning.space import Space

One = TypeVar("One")
PRECISIONS = ("fp32", "bf16")
NOTHING = "{}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, help="tune a training, J per sample: folder that `greenllm preprocess` wrote")
    add("--settings", default=NOTHING, help="training settings: JSON or YAML, or a file of it")
    add("--model", default=NOTHING, help="train from scratch: size and context (tokens): JSON or YAML, or a file of it")
    add("--from", dest="parent", type=Path, help="train from the model in this folder, instead of --model")
    add("--bundle", type=Path, help="tune a server, J per request: a bundle that `greenllm deploy` made")
    add("--predictions", type=Path, help="with --bundle: JSONL file that `greenllm evaluate` wrote, for its prompts")
    add("--max-tokens", type=int, default=64, help="with --bundle: most tokens of an answer (default: 64)")
    add("--requests", type=int, default=16, help="with --bundle: least number of prompts of a probe (default: 16)")
    add("--batch", default="1,2,4,8,16,32", metavar="N,…", help="batch sizes to choose from (default: %(default)s)")
    add("--threads", type=int, default=1, help="most threads; the powers of two below are probed, too (default: 1)")
    add("--precision", default="", metavar="P,…", help="training precisions to choose from: fp32,bf16 (default: auto)")
    add("--power-limit", default="", metavar="W,…", help="power limits of the GPUs to choose from, in watts")
    add("--gpus", type=int, default=0, help="GPUs to lease (default: 0)")
    add("--device", choices=DEVICE_CHOICES, default="auto", help="require: a GPU or nothing (default: auto)")
    add("--longest-s", type=float, metavar="S", help="longest mean time of a request, or of a sample (s; default: any)")
    add("--probes", type=int, default=25, help="most probes (default: 25)")
    add("--seconds", type=float, default=1.0, help="length of a probe in seconds (default: 1)")
    add("--seed", type=seed, default=1, help="of the search and the training (default: 1)")
    add("--out", type=Path, required=True, help="folder for tuned.yaml, probes.csv, the figure and the energy logs")


def run(arguments: argparse.Namespace) -> int:
    """Tune and write the result. Without a meter, start again under one, which is alone on the host."""
    _check(arguments)
    space = _space(arguments)
    require_writable(arguments.out)
    if not os.environ.get("GREENLLM_METER_ID"):
        ledger = arguments.out / "ledger"
        run_under_meter("tune", ledger=ledger, threads=arguments.threads, cgroup=None, gpus=arguments.gpus)
    signal.signal(signal.SIGTERM, _interrupt)  # so that the probed process is stopped before this one ends
    try:
        around = this_job()
    except UnknownEnergyError as error:
        raise UserError(f"the energy of this job is unknown: {error}") from None
    _require_power_limits(space)

    from greenllm.tuning.probes import Prober
    from greenllm.tuning.search import ProbeFailedError, search

    workload, logs = _workload(arguments), arguments.out / "energy"
    logs.mkdir(parents=True, exist_ok=True)
    with Prober(workload, around, logs, lambda line: print(f"tune: {line}", file=sys.stderr)) as prober:
        try:
            found = search(
                space, prober.probe, probes=arguments.probes, bound_s=arguments.longest_s, seed=arguments.seed
            )
        except ProbeFailedError as error:
            raise UserError(f"every probe failed: {error}") from None
    _write(arguments, found, workload.unit, around)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise UserError where the options do not fit together, a file is missing, or a number is out of its range."""
    if (arguments.data is None) == (arguments.bundle is None):
        raise UserError("expected either --data, to tune a training, or --bundle, to tune a server")
    if arguments.data is not None:
        _check_training(arguments)
    else:
        _check_serving(arguments)
    if arguments.power_limit and not arguments.gpus:
        raise UserError("--power-limit: needs GPUs whose power is limited; add --gpus N")
    if arguments.power_limit and not _allowed_gpus():
        raise UserError("--power-limit: this process may use no GPU here (`greenllm probe` lists them); leave it out")
    for option in ("probes", "requests", "max_tokens"):
        if getattr(arguments, option) < 1:
            raise UserError(f"--{option.replace('_', '-')} {getattr(arguments, option)}: expected at least 1")
    for option in ("seconds", "longest_s"):
        if (value := getattr(arguments, option)) is not None and not 0 < value < float("inf"):
            raise UserError(f"--{option.replace('_', '-')} {value:g}: expected seconds, a number above 0")


def _allowed_gpus() -> int:
    """Return the number of this host's GPUs that the meter may lease for this process."""
    from greenllm.cluster.assignment import assigned_gpus
    from greenllm.meter.gpus import visible
    from greenllm.meter.sensors import nvml

    return len(visible(nvml.find()[0], assigned_gpus(os.environ)))


def _check_training(arguments: argparse.Namespace) -> None:
    from greenllm.config.models import Model
    from greenllm.config.models import Training as Settings
    from greenllm.config.read import read_settings

    if arguments.predictions is not None:
        raise UserError("--predictions: is for --bundle; leave it out")
    if arguments.parent is not None and arguments.model != NOTHING:
        raise UserError("--model: is for a training from scratch; leave it or --from out")
    _require_file(arguments.data / "train.parquet", "the folder that `greenllm preprocess` wrote")
    if arguments.parent is not None:
        _require_file(arguments.parent / "config.json", "a Hugging Face model folder")
    read_settings(arguments.settings, Settings)
    read_settings(arguments.model, Model, option="--model")


def _check_serving(arguments: argparse.Namespace) -> None:
    if arguments.precision:
        raise UserError("--precision: a bundle has its own; leave it out, or tune each recipe's bundle")
    if arguments.settings != NOTHING or arguments.model != NOTHING or arguments.parent is not None:
        raise UserError("--settings, --model and --from are for --data; leave them out")
    predictions = "the JSONL file that `greenllm evaluate` wrote"
    if arguments.predictions is None:
        raise UserError(f"--predictions: is missing; expected {predictions}")
    _require_file(arguments.bundle / "greenllm.json", "the folder that `greenllm deploy` wrote")
    _require_file(arguments.predictions, predictions)


def _require_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected {expected}")


def _space(arguments: argparse.Namespace) -> "Space":
    from greenllm.tuning.space import Space

    batch = _list("--batch", arguments.batch, int, lambda one: one >= 1, "whole numbers such as 1,2,4")
    if not batch:
        raise UserError("--batch: expected at least one whole number")
    limits_W = _list(
        "--power-limit", arguments.power_limit, float, lambda one: 0 < one < math.inf, "watts such as 200,300"
    )
    return Space(
        batch=batch,
        threads=candidates(usable_threads(arguments.threads)),
        precision=_list("--precision", arguments.precision, str, PRECISIONS.__contains__, "of fp32,bf16") or [None],
        power_limit_W=[*limits_W] or [None],
    )


def _list(option: str, text: str, kind: Callable[[str], One], valid: Callable[[One], bool], form: str) -> list[One]:
    try:
        values = [kind(word.strip()) for word in text.split(",") if word.strip()]
    except ValueError:
        values = []
        if text:
            raise UserError(f"{option} {text}: expected {form}") from None
    if not all(map(valid, values)):
        raise UserError(f"{option} {text}: expected {form}")
    if len(set(values)) < len(values):
        raise UserError(f"{option} {text}: expected {form}, each once")
    return values


def _require_power_limits(space: "Space") -> None:
    """Raise UserError where a power limit cannot be set, before anything is probed."""
    from greenllm.tuning.probes import held_gpus

    for limit_W in space.power_limit_W:
        if limit_W is None:
            continue
        if not held_gpus():
            raise UserError("--power-limit: this job has no GPU; leave it out")
        command = greenllm("meter", "--rule", "tune", "--gpus", str(held_gpus()), "--power-limit", f"{limit_W:g}")
        tried = subprocess.run([*command, "--", "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            raise UserError(tried.stderr.strip().removeprefix("greenllm meter: error: "))


def _workload(arguments: argparse.Namespace) -> "Workload":
    from greenllm.tuning.probes import ServingWorkload, TrainingWorkload

    if arguments.data is not None:
        return TrainingWorkload(
            data=arguments.data,
            settings=arguments.settings,
            model=arguments.model,
            parent=arguments.parent,
            seed=arguments.seed,
            device=arguments.device,
            least_s=arguments.seconds,
        )
    return ServingWorkload(
        bundle=arguments.bundle,
        predictions=arguments.predictions,
        max_tokens=arguments.max_tokens,
        device=arguments.device,
        least_s=arguments.seconds,
        requests=arguments.requests,
    )


def _write(arguments: argparse.Namespace, found: "Found", unit: str, around: RunningJob) -> None:
    from greenllm.report.figures.drawing import write
    from greenllm.report.figures.tuning_curve import tuning_curve
    from greenllm.tuning.result import write_fragment, write_probes
    from greenllm.work import write_work

    try:
        spent = around.energy()
    except UnknownEnergyError:
        spent = None
    write_probes(arguments.out / "probes.csv", found, unit)
    write("curve", tuning_curve(found, unit, arguments.longest_s), arguments.out)
    fragment = arguments.out / "tuned.yaml"
    write_fragment(fragment, found, unit, arguments.longest_s, spent)
    write_work(probes=len(found.probes))
    print(fragment.read_text(encoding="utf-8"), end="")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
