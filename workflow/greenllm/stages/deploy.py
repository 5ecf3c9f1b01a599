"""`greenllm deploy`: bundle a model, serve it, and measure what a request takes of time and energy."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenllm.config.models import Deployment, Evaluation
from greenllm.config.read import read_settings
from greenllm.errors import UserError
from greenllm.files import read_json, write_json
from greenllm.serving.bundle import make_bundle, model_bytes
from greenllm.serving.engines.manifest import read_manifest
from greenllm.serving.load import read_predictions
from greenllm.serving.processes import greenllm, metered, running_server
from greenllm.threads import usable_threads
from greenllm.work import write_work


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
    load = _measure(arguments, settings, longest, wildcards, threads)

    manifest = read_manifest(arguments.bundle)
    answers = load.pop("answers")
    # No answer is not evaluate's answer either.
    failed = [answer for answer in answers if answer["error"] is not None]
    answered = [answer for answer in answers if answer["error"] is None]
    differing = [answer for answer in answered if answer["text"] != predictions[answer["id"]]]
    equal = len(answered) - len(differing)
    share = equal / len(answers)
    if share < settings.agreement:
        reasons = []
        if failed:
            reasons.append(f"{len(failed)} failed, the first (id {failed[0]['id']}): {failed[0]['error']}")
        if differing:
            first = differing[0]
            instead = f"{first['text']!r} instead of {predictions[first['id']]!r}"
            reasons.append(f"{len(differing)} differ, the first (id {first['id']}): {instead}")
        print(
            f"greenllm deploy: {equal} of {len(answers)} answers are those of evaluate, fewer than "
            f"deploy.agreement {settings.agreement} allows: {'; '.join(reasons)}",
            file=sys.stderr,
        )
        return 1
    serve_id, load_id = (
        read_json(log, "expected the energy log of `greenllm meter`")["id"]
        for log in (arguments.energy_serve, arguments.energy_load)
    )
    write_json(
        arguments.out,
        {
            **load,
            "schema": "greenllm/deployment/1",
            "engine": manifest.engine,
            "precision": manifest.precision,
            "batch": settings.batch,
            "threads": threads,
            "serve_id": serve_id,
            "load_id": load_id,
            "agreement": {"equal": equal, "compared": len(answers), "share": share},
            "model_bytes": model_bytes(arguments.bundle),
            **_energy(Path(os.environ["GREENLLM_LEDGER"]), serve_id, load),
        },
    )
    write_work(requests=load["answered"], tokens=load["completion_tokens"])
    return 0


def _measure(
    arguments: argparse.Namespace,
    settings: Deployment,
    longest: int,
    wildcards: Mapping[str, str],
    threads: int,
) -> dict[str, Any]:
    """Serve the bundle, send the requests, and return what `greenllm load` wrote."""
    gpus = [index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index]
    reserved = ("--threads", str(threads), "--gpus", str(len(gpus)))
    serve = [
        *metered("serve", wildcards, arguments.energy_serve, *reserved),
        *greenllm("serve", str(arguments.bundle), "--port", "0", "--threads", str(threads)),
        *("--device", arguments.device, "--batch", str(settings.batch), "--max-tokens", str(longest)),
        *("--queue", str(max(1024, *settings.concurrency))),
    ]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "load.json"
        with running_server(serve) as url:
            load = [
                # It reserves nothing: what the processors idle meanwhile is the server's.
                *metered("load", wildcards, arguments.energy_load, "--gpus", "0"),
                *greenllm("load", "--url", url, "--predictions", str(arguments.predictions), "--out", str(out)),
                *("--requests", str(settings.requests), "--concurrency", str(settings.concurrency[0])),
                *("--warmup", str(settings.warmup)),
                *(() if settings.rate_per_s is None else ("--rate", str(settings.rate_per_s))),
            ]
            status = _run(load)
            if status != 0:
                raise UserError(f"greenllm load ended with status {status}; its message is above")
        return read_json(out, "expected what `greenllm load` wrote")


def _run(command: list[str]) -> int:
    """Run a command to its end; where we are stopped, stop it too and wait for it."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def _energy(ledger: Path, serve_id: str, load: Mapping[str, Any]) -> dict[str, Any]:
    """Return the server's energy between the first request and the last answer, in all and per unit of work."""
    from greenllm.attribution import attribute

    window = load["window"]
    energy = attribute(ledger).energy_between(serve_id, window["monotonic_start_s"], window["monotonic_end_s"])
    if energy is None:
        reason = "the sensors were not read within the window, or there are none"
        return dict.fromkeys(("energy_J", "energy_per_request_J", "energy_per_token_J")) | {"energy_reason": reason}
    return {
        "energy_J": energy.to_json(),
        "energy_per_request_J": energy.scaled(1 / load["answered"]).to_json(),
        "energy_per_token_J": energy.scaled(1 / load["completion_tokens"]).to_json()
        if load["completion_tokens"]
        else None,
        "energy_reason": None,
    }


def _wildcards(pairs: list[str]) -> dict[str, str]:
    wildcards = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UserError(f"--wildcard {pair}: expected KEY=VALUE")
        wildcards[key] = value
    return wildcards
