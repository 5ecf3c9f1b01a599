"""The document of a measurement: figures of each server's rounds, and its agreement with what evaluate found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from greenllm.attribution.live import Turn
from greenllm.documents.measurement import (
    AgreementCounts,
    IdleTime,
    LoadPoint,
    MeasuredRound,
    MeasurementWindow,
    ServerMeasurement,
    SideBySide,
)
from greenllm.errors import UserError
from greenllm.estimate import Estimate, interval_of, total
from greenllm.load.agreement import agreement_of
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.per_unit import energy_per_unit
from greenllm.load.prompts import read_prompts
from greenllm.load.side_by_side import Concurrency, Measured, PlacedRound, SideBySideMeasurement
from greenllm.load.summary import sum_known, summary_of
from greenllm.serving.bundle import model_bytes

UNKNOWN = "the sensors were not read within the window, or there are none"
Energies = Callable[[Sequence[Turn]], Sequence[Estimate | None]]


def document_of(measurement: SideBySideMeasurement, loaded_reason: str, energies: Energies) -> SideBySide:
    """Return the document of a measurement. A server whose answers differ from evaluate's is reported as failed.

    `energies` returns the energy (J) of each turn.
    """
    job = measurement.job
    twin = next((one.name for one in job.contenders if one.name != one.recipe), None)
    return SideBySide(
        measure_id=measurement.around.id,
        seed=job.seed,
        loaded=measurement.loaded,
        loaded_reason=loaded_reason,
        reserved_threads=job.threads,
        twin=twin,
        planned=measurement.planned,
        concurrencies=measurement.concurrencies,
        orders=[measurement.orders.get(concurrency, []) for concurrency in measurement.concurrencies],
        servers=[_server(measurement, one, energies) for one in measurement.measured.values()],
    )


def turn_of(measured: Measured, serve_id: str, window: MeasurementWindow) -> Turn:
    """Return a window as a turn of a server."""
    start_s, end_s = window.monotonic_start_s, window.monotonic_end_s
    return Turn(serve_id, start_s, end_s, measured.threads.threads, measured.gpus)


def round_energies(measured: Measured, rounds: Sequence[PlacedRound], energies: Energies) -> list[Estimate | None]:
    """Return the energy (J) of each round of a server; None where it is unknown."""
    turns = [turn_of(measured, one.serve_id, one.sent.window) for one in rounds if one.serve_id is not None]
    found = iter(energies(turns))
    return [None if one.serve_id is None else next(found) for one in rounds]


def _server(measurement: SideBySideMeasurement, measured: Measured, energies: Energies) -> ServerMeasurement:
    job, contender = measurement.job, measured.contender
    agreement, failure = None, measured.failure
    if failure is None:
        agreement, failure = _agreement(job, contender, measured.rounds)
    points = [
        _point(concurrency, job.settings.rate_per_s, rounds, round_energies(measured, rounds, energies))
        for concurrency, rounds in measured.rounds.items()
        if failure is None
    ]
    idle = None
    if measured.idle is not None and failure is None:
        serve_id, window = measured.idle
        turns = [] if serve_id is None else [turn_of(measured, serve_id, window)]
        idle = _idle(window, next(iter(energies(turns)), None))
    energy_known = all(point.energy_J for point in points)
    memory_bytes, memory_reason = measured.memory
    return ServerMeasurement(
        name=contender.name,
        recipe=contender.recipe,
        engine=measured.engine or contender.manifest.engine,
        precision=contender.manifest.precision,
        threads=measured.threads,
        gpus=measured.gpus,
        batch=job.settings.batch,
        metered=measured.metered,
        energy_reason=measured.energy_reason if energy_known or not measured.metered else UNKNOWN,
        idle=idle,
        agreement=agreement,
        points=points,
        model_bytes=None if contender.manifest.endpoint else model_bytes(contender.bundle),
        memory_bytes=memory_bytes,
        memory_reason=memory_reason,
        failure=failure,
    )


def _agreement(
    job: MeasurementJob, contender: Contender, rounds: Mapping[Concurrency, Sequence[PlacedRound]]
) -> tuple[AgreementCounts, str | None]:
    """Return how many answers are those of evaluate, and the problem if they are too few."""
    predictions = predictions_of(contender)
    answers = [answer for placed in rounds.values() for one in placed for answer in one.sent.answers]
    found = agreement_of(answers, predictions)
    counts = AgreementCounts(equal=found.equal, compared=found.compared, share=found.share)
    least = job.settings.agreement
    return counts, None if found.share >= least else found.problem(least)


def predictions_of(contender: Contender) -> dict[str, str | None]:
    """Return the answers that evaluate got, by id. Raises `UserError` if a line has none."""
    predictions = {row.id: row.prediction for row in read_prompts(contender.predictions)}
    if None in predictions.values():
        raise UserError(f"{contender.predictions}: a line without the key prediction; expected evaluate's predictions")
    return predictions


def _point(
    concurrency: Concurrency,
    rate_per_s: float | None,
    placed: Sequence[PlacedRound],
    energies: Sequence[Estimate | None],
) -> LoadPoint:
    """Return the figures at one concurrency; `energies` are those of its rounds."""
    figures, by_round = summary_of([one.sent for one in placed]), [summary_of([one.sent]) for one in placed]
    known = [energy for energy in energies if energy is not None]
    energy, starts = total(known) if len(known) == len(placed) else None, [one.start for one in placed]
    return LoadPoint(
        concurrency=concurrency,
        rate_per_s=rate_per_s,
        rounds=[
            MeasuredRound(
                window=one.sent.window,
                start=one.start,
                block=one.block,
                serve_id=one.serve_id,
                answered=own.answered,
                failed=own.failed,
                completion_tokens=own.completion_tokens,
                prompt_tokens=own.prompt_tokens,
                cached_prompt_tokens=sum_known(answer.cached_prompt_tokens for answer in one.sent.answered),
                energy_J=interval_of(spent),
            )
            for one, own, spent in zip(placed, by_round, energies, strict=True)
        ],
        **asdict(figures),
        energy_J=interval_of(energy),
        energy_per_request_J=energy_per_unit(energies, [own.answered for own in by_round], starts),
        energy_per_token_J=energy_per_unit(energies, [own.completion_tokens for own in by_round], starts),
    )


def _idle(window: MeasurementWindow, energy: Estimate | None) -> IdleTime:
    """Return the energy and power of a server while nothing is sent."""
    return IdleTime(
        window=window,
        duration_s=window.duration_s,
        energy_J=interval_of(energy),
        power_W=None if energy is None else energy.scaled(1 / window.duration_s).interval(),
    )
