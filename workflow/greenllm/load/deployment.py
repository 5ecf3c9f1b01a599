"""A deployment: the model is bundled, served and sent requests, and its time, energy and answers are measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenllm.documents.evaluation import EvaluationReport
from greenllm.documents.measurement import AgreementCounts, LoadMeasurement, MeasurementWindow
from greenllm.errors import UserError
from greenllm.estimate import Estimate
from greenllm.files import read_json, write_json
from greenllm.load import measurement
from greenllm.load.agreement import AnswerAgreement, agreement_of
from greenllm.load.deployed_server import Target, serving
from greenllm.load.deployment_job import DeploymentJob
from greenllm.load.generator_process import running_load
from greenllm.load.measurement import MeasuredPoint
from greenllm.load.processes import greenllm, metered
from greenllm.load.prompts import read_prompts
from greenllm.load.summary import sum_known
from greenllm.model_folder.manifest import read_manifest
from greenllm.serving.bundle import make_bundle, model_bytes
from greenllm.serving.scripted_replies import Replies
from greenllm.work import write_work

UNKNOWN = "the sensors were not read within the window, or there are none"


def deploy(job: DeploymentJob) -> AnswerAgreement:
    """Make the bundle, measure it under load, and write the measurement, unless too few answers agree with evaluate's.

    Returns the agreement. Raises `UserError` if an input is not valid, or a server or the load generator fails.
    """
    predictions = {row.id: row.prediction for row in read_prompts(job.predictions)}
    if None in predictions.values():
        raise UserError(f"{job.predictions}: a line without the key prediction; expected evaluate's predictions")
    evaluation = EvaluationReport.read(job.evaluation)
    elsewhere = read_manifest(job.model).endpoint is not None  # then no server here could send the replies
    replies = None if elsewhere else _replies(job.data, job.answers.threshold)
    make_bundle(job.model, evaluation, job.wildcards, job.bundle, task=job.task, replies=replies)
    measured = _measured(job)
    answers = [answer for point in measured.points for round in point.rounds for answer in round.answers]
    agreement = agreement_of(answers, predictions)
    if agreement.share >= job.settings.agreement:
        _write(job, measured, agreement)
    return agreement


@dataclass(frozen=True)
class MeasuredServer:
    """A server that was measured under load."""

    target: Target
    memory: tuple[int | None, str | None]
    idle: MeasurementWindow | None
    points: Sequence[MeasuredPoint]


def _measured(job: DeploymentJob) -> MeasuredServer:
    """Serve the bundle and send it the load."""
    settings = job.settings
    with serving(job) as target:
        endpoint = target.endpoint
        options = {
            "--name": endpoint.served_name,
            "--system": endpoint.system,
            "--key-variable": endpoint.key_variable,
            "--tokenizer": target.tokenizer,
            "--max-tokens": target.max_tokens,
        }
        command = [
            # The load generator reserves nothing: the processors' idle energy is the server's.
            *metered("load", job.wildcards, job.energy_load, "--gpus", "0"),
            *greenllm("load", "--url", endpoint.url, "--predictions", str(job.predictions)),
            *(word for option, value in options.items() if value is not None for word in (option, str(value))),
            *(["--chat"] if endpoint.chat else []),
        ]
        with running_load(command) as load:
            # With a rate there is one point only: the rate determines how many requests run at once.
            first, *others = settings.concurrency if settings.rate_per_s is None else [None]
            measurement.warm_up(load.round, settings, first)
            memory = target.memory(job.gpus)
            idle = measurement.idle(settings)
            points = [measurement.measure_point(load.round, settings, first, _energies)]
            for concurrency in others:
                measurement.warm_up(load.round, settings, concurrency)
                points.append(measurement.measure_point(load.round, settings, concurrency, _energies))
    return MeasuredServer(target, memory, idle, points)


def _write(job: DeploymentJob, measured: MeasuredServer, agreement: AnswerAgreement) -> None:
    """Write the measurement, and the work done."""
    target, serve_id = measured.target, None
    if target.metered:
        serve_id = _id_in(job.energy_serve)
    else:  # the workflow expects a log
        write_json(job.energy_serve, {"id": None, "energy_J": None, "reason": target.energy_reason})
    # Computed once more, now that the ledgers have ended: so the report will find the same energies.
    windows = [round.window for point in measured.points for round in point.rounds]
    energies = iter(_energies([*windows, *([measured.idle] if measured.idle else [])]))
    points = [
        measurement.described(point, job.settings.rate_per_s, [next(energies) for _ in point.rounds])
        for point in measured.points
    ]
    energy_known = all(point.energy_J for point in points)
    written = LoadMeasurement(
        engine=target.engine,
        precision=job.manifest.precision,
        batch=job.settings.batch,
        threads=job.threads,
        serve_id=serve_id,
        load_id=_id_in(job.energy_load),
        agreement=AgreementCounts(equal=agreement.equal, compared=agreement.compared, share=agreement.share),
        model_bytes=None if job.manifest.endpoint else model_bytes(job.bundle),
        memory_bytes=measured.memory[0],
        memory_reason=measured.memory[1],
        energy_reason=target.energy_reason if energy_known or not target.metered else UNKNOWN,
        idle=measurement.described_idle(measured.idle, next(energies)) if measured.idle else None,
        points=points,
    )
    written.write(job.out)
    tokens = sum_known(point.completion_tokens for point in written.points)
    answered = sum(point.answered for point in written.points)
    write_work(requests=answered, **({} if tokens is None else {"tokens": tokens}))


def _energies(windows: Sequence[MeasurementWindow]) -> list[Estimate | None]:
    """Return the server's energy (J) in each window; None if it is unknown."""
    from greenllm.attribution.live import energy_inside  # imported while the server starts

    return energy_inside("serve", [(window.monotonic_start_s, window.monotonic_end_s) for window in windows])


def _id_in(log: Path) -> str:
    return str(read_json(log, "expected the energy log of `greenllm meter`")["id"])


def _replies(data: Path | None, threshold: float) -> Replies | None:
    """Return the scripted replies in a data folder, if any."""
    if data is None or not (file := data / "replies.json").is_file():
        return None
    return Replies(threshold=threshold, **read_json(file, "expected what `greenllm preprocess` wrote"))
