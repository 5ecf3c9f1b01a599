"""A deployment: the model is bundled, served and sent requests, and its time, energy and answers are measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import read_json, write_json
from greenllm.load import measurement
from greenllm.load.agreement import AnswerAgreement, agreement_of
from greenllm.load.deployed_server import Target, serving
from greenllm.load.deployment_job import DeploymentJob
from greenllm.load.energy import UNKNOWN, JobEnergy
from greenllm.load.generator_process import running_load
from greenllm.load.measurement import MeasuredPoint
from greenllm.load.processes import greenllm, metered
from greenllm.load.prompts import read_prompts
from greenllm.load.summary import sum_known
from greenllm.model_folder.manifest import read_manifest
from greenllm.serving.bundle import make_bundle, model_bytes
from greenllm.serving.scripted_replies import Replies
from greenllm.work import write_work

SCHEMA = "greenllm/deployment/2"


def deploy(job: DeploymentJob) -> AnswerAgreement:
    """Make the bundle, measure it under load, and write the measurement, unless too few answers agree with evaluate's.

    Returns the agreement. Raises `UserError` if an input is not valid, or a server or the load generator fails.
    """
    predictions = {row.id: row.prediction for row in read_prompts(job.predictions)}
    if None in predictions.values():
        raise UserError(f"{job.predictions}: a line without the key prediction; expected evaluate's predictions")
    evaluation = read_json(job.evaluation, "expected what `greenllm evaluate` wrote")
    elsewhere = read_manifest(job.model).endpoint is not None  # then no server here could send the replies
    replies = None if elsewhere else _replies(job.data, job.answers.threshold)
    make_bundle(job.model, {**evaluation, "task": job.task}, job.wildcards, job.bundle, replies)
    measured = _measured(job)
    answers = [answer for point in measured.points for round in point.rounds for answer in round.answers]
    agreement = agreement_of(answers, predictions)
    if agreement.share >= job.settings.agreement:
        _write(job, measured, agreement)
    return agreement


@dataclass(frozen=True)
class MeasuredServer:
    """A server that was measured, and its energy."""

    target: Target
    energy: JobEnergy
    memory: tuple[int | None, str | None]
    idle: dict[str, Any] | None
    points: Sequence[MeasuredPoint]


def _measured(job: DeploymentJob) -> MeasuredServer:
    """Serve the bundle and send it the load."""
    settings = job.settings
    energy = JobEnergy("serve")
    with serving(job) as target:
        endpoint = target.endpoint
        command = [
            # The load generator reserves nothing: the processors' idle energy is the server's.
            *metered("load", job.wildcards, job.energy_load, "--gpus", "0"),
            *greenllm("load", "--url", endpoint.url, "--predictions", str(job.predictions)),
            *(() if endpoint.served_name is None else ("--name", endpoint.served_name)),
            *(("--chat",) if endpoint.chat else ()),
            *(() if endpoint.system is None else ("--system", endpoint.system)),
            *(() if endpoint.key_variable is None else ("--key-variable", endpoint.key_variable)),
            *(() if target.tokenizer is None else ("--tokenizer", str(target.tokenizer))),
            *(() if target.max_tokens is None else ("--max-tokens", str(target.max_tokens))),
        ]
        with running_load(command) as load:
            # With a rate there is one point only: the rate determines how many requests run at once.
            first, *others = settings.concurrency if settings.rate_per_s is None else [None]
            measurement.warm_up(load.round, settings, first)
            memory = target.memory(job.gpus)
            idle = measurement.idle(settings)
            points = [measurement.measure_point(load.round, settings, first, energy.between)]
            for concurrency in others:
                measurement.warm_up(load.round, settings, concurrency)
                points.append(measurement.measure_point(load.round, settings, concurrency, energy.between))
    return MeasuredServer(target, energy, memory, idle, points)


def _write(job: DeploymentJob, measured: MeasuredServer, agreement: AnswerAgreement) -> None:
    """Write the measurement, and the work done."""
    target, serve_id = measured.target, None
    if target.metered:
        serve_id = _id_in(job.energy_serve)
    else:  # the workflow expects a log
        write_json(job.energy_serve, {"id": None, "energy_J": None, "reason": target.energy_reason})
    figures = _figures(measured, job.settings.rate_per_s)
    energy_known = all(point["energy_J"] for point in figures["points"])
    write_json(
        job.out,
        {
            "schema": SCHEMA,
            "engine": target.engine,
            "precision": job.manifest.precision,
            "batch": job.settings.batch,
            "threads": job.threads,
            "serve_id": serve_id,
            "load_id": _id_in(job.energy_load),
            "agreement": {"equal": agreement.equal, "compared": agreement.compared, "share": agreement.share},
            "model_bytes": None if job.manifest.endpoint else model_bytes(job.bundle),
            "memory_bytes": measured.memory[0],
            "memory_reason": measured.memory[1],
            "energy_reason": target.energy_reason if energy_known or not target.metered else UNKNOWN,
            **figures,
        },
    )
    tokens = sum_known(point["completion_tokens"] for point in figures["points"])
    answered = sum(point["answered"] for point in figures["points"])
    write_work(requests=answered, **({} if tokens is None else {"tokens": tokens}))


def _figures(measured: MeasuredServer, rate_per_s: float | None) -> dict[str, Any]:
    """Return the figures of the idle time and of all points.

    The energies are computed once more, now that the ledgers have ended: so the report will find the same.
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
    """Return the scripted replies in a data folder, if any."""
    if data is None or not (file := data / "replies.json").is_file():
        return None
    return Replies(threshold=threshold, **read_json(file, "expected what `greenllm preprocess` wrote"))
