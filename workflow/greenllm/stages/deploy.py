"""`greenllm deploy`: bundle a model, serve it, and measure what a request takes of time and energy."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.config.models import Deployment, Evaluation
from greenllm.config.read import read_settings
from greenllm.environment import SAFE_PATH
from greenllm.errors import UserError
from greenllm.files import read_json, require_replaceable, require_separate, write_json
from greenllm.load import measurement
from greenllm.load.agreement import agreement_of
from greenllm.load.command import read_predictions, sum_known
from greenllm.load.deployed_server import Deployed, Target, serving
from greenllm.load.energy import UNKNOWN, JobEnergy
from greenllm.load.measurement import Point
from greenllm.load.processes import greenllm, metered, running_load
from greenllm.meter.threads import usable_threads
from greenllm.model_folder.manifest import read_manifest
from greenllm.serving.bundle import make_bundle, model_bytes
from greenllm.serving.scripted_replies import Replies
from greenllm.work import write_work

SCHEMA = "greenllm/deployment/2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--task", required=True, help="the application, for the bundle's card")
    parser.add_argument("--settings", default="{}", help="deployment settings: JSON or YAML, or a file of it")
    parser.add_argument(
        "--evaluation-settings",
        default="{}",
        help="evaluation settings, for the longest answer in tokens and the confidence below which a person takes over",
    )
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--predictions", type=Path, required=True, help="JSONL file that `greenllm evaluate` wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="JSON file that `greenllm evaluate` wrote")
    parser.add_argument("--data", type=Path, help="folder that `greenllm preprocess` wrote, for its scripted replies")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the server")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "require"], default="auto", help="require: a GPU or nothing"
    )
    parser.add_argument("--bundle", type=Path, required=True, help="folder to make: the model, ready to be served")
    parser.add_argument("--energy-serve", type=Path, required=True, help="energy log of the server, in joules")
    parser.add_argument("--energy-load", type=Path, required=True, help="energy log of the load generator, in joules")
    parser.add_argument(
        "--wildcard", action="append", default=[], metavar="KEY=VALUE", help="what this job is; may be repeated"
    )
    parser.add_argument(
        "--ready",
        type=float,
        default=600,
        metavar="S",
        help="longest start of another server, in seconds (default: 600)",
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the measurement (s, J, requests/s)")


def run(arguments: argparse.Namespace) -> int:
    """Deploy; return 1 where too few answers are those of evaluate.

    Run by hand, without a meter around, it first puts itself under one, since only what one meter holds can be
    shared between the server's and the load generator's; the ledger then lies beside the measurement.
    """
    inputs = (arguments.model, arguments.predictions, arguments.evaluation, arguments.data)
    require_replaceable(arguments.bundle, "deploy", inputs)
    require_separate([arguments.out, arguments.energy_serve, arguments.energy_load], inputs)
    if not os.environ.get("GREENLLM_METER_ID"):
        ledger = str((arguments.out.parent / "ledger").absolute())
        options = ["--threads", str(arguments.threads), "--exclusive", "--rule", "deploy", "--ledger", ledger]
        endpoint = read_manifest(arguments.model).endpoint
        if endpoint is not None and endpoint.cgroup is not None:  # what a meter claims, those around it claim, too
            options += ["--cgroup", endpoint.cgroup]
        os.environ[SAFE_PATH] = "1"
        os.execv(sys.executable, [*greenllm("meter", *options, "--"), *sys.orig_argv])
    signal.signal(signal.SIGTERM, _interrupt)  # so that the server is stopped before this process ends
    return _deploy(arguments)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _deploy(arguments: argparse.Namespace) -> int:
    settings = read_settings(arguments.settings, Deployment)
    evaluation_settings = read_settings(arguments.evaluation_settings, Evaluation, option="--evaluation-settings")
    wildcards = _wildcards(arguments.wildcard)
    predictions = {row["id"]: row.get("prediction") for row in read_predictions(arguments.predictions)}
    if None in predictions.values():
        raise UserError(f"{arguments.predictions}: a line without the key prediction; expected what evaluate wrote")
    evaluation = read_json(arguments.evaluation, "expected what `greenllm evaluate` wrote")
    elsewhere = read_manifest(arguments.model).endpoint is not None  # then nobody here could give the replies
    replies = None if elsewhere else _replies(arguments.data, evaluation_settings.threshold)
    make_bundle(arguments.model, {**evaluation, "task": arguments.task}, wildcards, arguments.bundle, replies)
    deployed = Deployed(
        bundle=arguments.bundle,
        manifest=read_manifest(arguments.bundle),
        settings=settings,
        max_tokens=evaluation_settings.max_tokens,
        threads=usable_threads(arguments.threads),
        gpus=len([index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index]),
        device=arguments.device,
        wildcards=wildcards,
        energy_log=arguments.energy_serve,
        ready_s=arguments.ready,
    )
    measured = _measure(deployed, arguments.predictions, arguments.energy_load)
    agreement = agreement_of(
        [answer for point in measured.points for round in point.rounds for answer in round.answers], predictions
    )
    if agreement.share < settings.agreement:
        print(f"greenllm deploy: {agreement.told(settings.agreement)}", file=sys.stderr)
        return 1
    target, serve_id = measured.target, None
    if target.metered:
        serve_id = _id_in(arguments.energy_serve)
    else:  # the workflow waits for a log
        write_json(arguments.energy_serve, {"id": None, "energy_J": None, "reason": target.energy_reason})
    figures = _figures(measured, settings.rate_per_s)
    energy_known = all(point["energy_J"] for point in figures["points"])
    write_json(
        arguments.out,
        {
            "schema": SCHEMA,
            "engine": target.engine,
            "precision": deployed.manifest.precision,
            "batch": settings.batch,
            "threads": deployed.threads,
            "serve_id": serve_id,
            "load_id": _id_in(arguments.energy_load),
            "agreement": {"equal": agreement.equal, "compared": agreement.compared, "share": agreement.share},
            "model_bytes": None if deployed.manifest.endpoint else model_bytes(arguments.bundle),
            "memory_bytes": measured.memory[0],
            "memory_reason": measured.memory[1],
            "energy_reason": target.energy_reason if energy_known or not target.metered else UNKNOWN,
            **figures,
        },
    )
    tokens = sum_known(point["completion_tokens"] for point in figures["points"])
    answered = sum(point["answered"] for point in figures["points"])
    write_work(requests=answered, **({} if tokens is None else {"tokens": tokens}))
    return 0


@dataclass(frozen=True)
class Measured:
    """What was sent to a target, and its energy."""

    target: Target
    energy: JobEnergy
    memory: tuple[int | None, str | None]
    idle: dict[str, Any] | None
    points: Sequence[Point]


def _measure(deployed: Deployed, predictions: Path, energy_log: Path) -> Measured:
    """Serve the bundle and send it the load."""
    settings = deployed.settings
    energy = JobEnergy("serve")
    with serving(deployed) as target:
        endpoint = target.endpoint
        command = [
            # It reserves nothing: what the processors idle meanwhile is the server's.
            *metered("load", deployed.wildcards, energy_log, "--gpus", "0"),
            *greenllm("load", "--url", endpoint.url, "--predictions", str(predictions)),
            *(() if endpoint.served_name is None else ("--name", endpoint.served_name)),
            *(("--chat",) if endpoint.chat else ()),
            *(() if endpoint.system is None else ("--system", endpoint.system)),
            *(() if endpoint.key_variable is None else ("--key-variable", endpoint.key_variable)),
            *(() if target.tokenizer is None else ("--tokenizer", str(target.tokenizer))),
            *(() if target.max_tokens is None else ("--max-tokens", str(target.max_tokens))),
        ]
        with running_load(command) as load:
            # At a rate there is one point: how many requests are under way follows from it.
            first, *others = settings.concurrency if settings.rate_per_s is None else [None]
            measurement.warm_up(load.round, settings, first)
            memory = target.memory(deployed.gpus)
            idle = measurement.idle(settings)
            points = [measurement.measure(load.round, settings, first, energy.between)]
            for concurrency in others:
                measurement.warm_up(load.round, settings, concurrency)
                points.append(measurement.measure(load.round, settings, concurrency, energy.between))
    return Measured(target, energy, memory, idle, points)


def _figures(measured: Measured, rate_per_s: float | None) -> dict[str, Any]:
    """Return the figures of idling and of all points.

    The energies are read once more, since the ledgers have ended: so the report will find them.
    """
    idle, points = measured.idle, measured.points
    windows = [*([idle] if idle else []), *(round.window for point in points for round in point.rounds)]
    energies = iter(measured.energy.between(windows))
    return {
        "idle": measurement.described_idle(idle, next(energies)) if idle else None,
        "points": [
            measurement.described(point, rate_per_s, [next(energies) for _ in point.rounds]) for point in points
        ],
    }


def _id_in(log: Path) -> str:
    return str(read_json(log, "expected the energy log of `greenllm meter`")["id"])


def _replies(data: Path | None, threshold: float) -> Replies | None:
    """Return the scripted replies that came with the data, if any."""
    if data is None or not (file := data / "replies.json").is_file():
        return None
    return Replies(threshold=threshold, **read_json(file, "expected what `greenllm preprocess` wrote"))


def _wildcards(pairs: list[str]) -> dict[str, str]:
    wildcards = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UserError(f"--wildcard {pair}: expected KEY=VALUE")
        wildcards[key] = value
    return wildcards
