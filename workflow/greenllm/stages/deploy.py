"""`greenllm deploy`: bundle a model, serve it, and measure what a request takes of time and energy."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.config.models import Deployment, Evaluation
from greenllm.config.read import read_settings
from greenllm.errors import UserError
from greenllm.files import read_json, write_json
from greenllm.serving import measurement
from greenllm.serving.bundle import make_bundle, model_bytes
from greenllm.serving.energy import UNKNOWN, JobEnergy
from greenllm.serving.engines.manifest import read_manifest
from greenllm.serving.load import read_predictions
from greenllm.serving.measurement import Point
from greenllm.serving.memory import resident_bytes
from greenllm.serving.processes import greenllm, metered, running_load, running_server
from greenllm.serving.rounds import Answered
from greenllm.threads import usable_threads
from greenllm.work import write_work

SCHEMA = "greenllm/deployment/2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--task", required=True, help="the application, for the bundle's card")
    parser.add_argument("--settings", default="{}", help="deployment settings: JSON or YAML, or a file of it")
    parser.add_argument(
        "--evaluation-settings", default="{}", help="evaluation settings, for the longest answer in tokens"
    )
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--predictions", type=Path, required=True, help="JSONL file that `greenllm evaluate` wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="JSON file that `greenllm evaluate` wrote")
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
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the measurement (s, J, requests/s)")


def run(arguments: argparse.Namespace) -> int:
    """Deploy; return 1 where too few answers are those of evaluate.

    Run by hand, without a meter around, it first puts itself under one, since only what one meter holds can be
    shared between the server's and the load generator's; the ledger then lies beside the measurement.
    """
    if not os.environ.get("GREENLLM_METER_ID"):
        ledger = str((arguments.out.parent / "ledger").absolute())
        options = ("--threads", str(arguments.threads), "--exclusive", "--rule", "deploy", "--ledger", ledger)
        os.execv(sys.executable, [*greenllm("meter", *options, "--"), *sys.orig_argv])
    signal.signal(signal.SIGTERM, _interrupt)  # so that the server is stopped before this process ends
    return _deploy(arguments)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _deploy(arguments: argparse.Namespace) -> int:
    settings = read_settings(arguments.settings, Deployment)
    longest = read_settings(arguments.evaluation_settings, Evaluation, option="--evaluation-settings").max_tokens
    threads = usable_threads(arguments.threads)
    wildcards = _wildcards(arguments.wildcard)
    predictions = {row["id"]: row.get("prediction") for row in read_predictions(arguments.predictions)}
    if None in predictions.values():
        raise UserError(f"{arguments.predictions}: a line without the key prediction; expected what evaluate wrote")
    evaluation = read_json(arguments.evaluation, "expected what `greenllm evaluate` wrote")
    make_bundle(arguments.model, {**evaluation, "task": arguments.task}, wildcards, arguments.bundle)
    manifest = read_manifest(arguments.bundle)
    energy = JobEnergy("serve")
    points, idle, memory = _measure(arguments, settings, longest, wildcards, threads, energy)

    agreement = _agreement(
        [answer for point in points for round in point.rounds for answer in round.answers], predictions
    )
    if agreement.share < settings.agreement:
        print(f"greenllm deploy: {agreement.told(settings.agreement)}", file=sys.stderr)
        return 1
    serve_id, load_id = (
        read_json(log, "expected the energy log of `greenllm meter`")["id"]
        for log in (arguments.energy_serve, arguments.energy_load)
    )
    # Once more, since the ledgers have ended: what the report will find.
    windows = [*([idle] if idle else []), *(round.window for point in points for round in point.rounds)]
    energies = iter(energy.between(windows))
    described_idle = measurement.described_idle(idle, next(energies)) if idle else None
    described = [
        measurement.described(point, settings.rate_per_s, [next(energies) for _ in point.rounds]) for point in points
    ]
    write_json(
        arguments.out,
        {
            "schema": SCHEMA,
            "engine": manifest.engine,
            "precision": manifest.precision,
            "batch": settings.batch,
            "threads": threads,
            "serve_id": serve_id,
            "load_id": load_id,
            "agreement": {"equal": agreement.equal, "compared": agreement.compared, "share": agreement.share},
            "model_bytes": model_bytes(arguments.bundle),
            "memory_bytes": memory[0],
            "memory_reason": memory[1],
            "energy_reason": None if all(point["energy_J"] for point in described) else UNKNOWN,
            "idle": described_idle,
            "points": described,
        },
    )
    write_work(
        requests=sum(point["answered"] for point in described),
        tokens=sum(point["completion_tokens"] or 0 for point in described),
    )
    return 0


def _measure(
    arguments: argparse.Namespace,
    settings: Deployment,
    longest: int,
    wildcards: Mapping[str, str],
    threads: int,
    energy: JobEnergy,
) -> tuple[list[Point], dict[str, Any] | None, tuple[int | None, str | None]]:
    """Serve the bundle and send it the load; return the points, the window of idling, and the server's memory."""
    gpus = [index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index]
    reserved = ("--threads", str(threads), "--gpus", str(len(gpus)))
    serve = [
        *metered("serve", wildcards, arguments.energy_serve, *reserved),
        *greenllm("serve", str(arguments.bundle), "--port", "0", "--threads", str(threads)),
        *("--device", arguments.device, "--batch", str(settings.batch), "--max-tokens", str(longest)),
        *("--queue", str(max(1024, *settings.concurrency))),
    ]
    with running_server(serve) as server:
        load = [
            # It reserves nothing: what the processors idle meanwhile is the server's.
            *metered("load", wildcards, arguments.energy_load, "--gpus", "0"),
            *greenllm("load", "--url", server.url, "--predictions", str(arguments.predictions)),
        ]
        with running_load(load) as generator:
            # At a rate there is one point: how many requests are under way follows from it.
            concurrencies = settings.concurrency if settings.rate_per_s is None else [None]
            measurement.warm_up(generator.round, settings, concurrencies[0])
            memory = resident_bytes(server.meter_pid)
            idle = measurement.idle(settings)
            points: list[Point] = []
            for concurrency in concurrencies:
                if points:
                    measurement.warm_up(generator.round, settings, concurrency)
                points.append(measurement.measure(generator.round, settings, concurrency, energy.between))
    return points, idle, memory


@dataclass(frozen=True)
class Agreement:
    """How many answers are those that evaluate got. No answer is not evaluate's answer either."""

    equal: int
    compared: int
    reasons: Sequence[str]

    @property
    def share(self) -> float:
        """Share of equal answers."""
        return self.equal / self.compared

    def told(self, least: float) -> str:
        """Return in one line that the share is less than `least`, and why."""
        return (
            f"{self.equal} of {self.compared} answers are those of evaluate, fewer than "
            f"deploy.agreement {least} allows: {'; '.join(self.reasons)}"
        )


def _agreement(answers: Sequence[Answered], predictions: Mapping[str, str | None]) -> Agreement:
    failed = [answer for answer in answers if answer.error is not None]
    answered = [answer for answer in answers if answer.error is None]
    differing = [answer for answer in answered if answer.text != predictions[answer.id]]
    reasons = []
    if failed:
        reasons.append(f"{len(failed)} failed, the first (id {failed[0].id}): {failed[0].error}")
    if differing:
        first = differing[0]
        instead = f"{first.text!r} instead of {predictions[first.id]!r}"
        reasons.append(f"{len(differing)} differ, the first (id {first.id}): {instead}")
    return Agreement(len(answered) - len(differing), len(answers), reasons)


def _wildcards(pairs: list[str]) -> dict[str, str]:
    wildcards = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UserError(f"--wildcard {pair}: expected KEY=VALUE")
        wildcards[key] = value
    return wildcards
