"""`greenllm measure`, without its options: threads are chosen, servers measured side by side, the result written."""

import math
from collections.abc import Sequence

from greenllm.attribution.live import RunningJob
from greenllm.blocks import needed_blocks
from greenllm.documents.measurement import PlannedBlocks, SideBySide
from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.load.loading import loading
from greenllm.load.measurement import document_of, predictions_of, round_energies
from greenllm.load.measurement_job import MeasurementJob
from greenllm.load.probed_threads import threads_of
from greenllm.load.side_by_side import (
    Concurrency,
    HostSuspendedError,
    Measured,
    PlacedRound,
    SideBySideMeasurement,
    fixed,
)
from greenllm.work import write_work


def measure(job: MeasurementJob, around: RunningJob) -> SideBySide:
    """Measure the servers side by side and write the measurement, unless no server has one.

    `around` is this process's own job. Raises `UserError` if an input is not valid, every server fails, or the host
    does not stay awake.
    """
    for contender in job.contenders:
        predictions_of(contender)
    for folder in (job.energy_serve, job.energy_load, job.energy_probe):
        folder.mkdir(parents=True, exist_ok=True)
    for one in job.contenders:  # of an earlier measurement
        (job.energy_serve / f"{one.name}.json").unlink(missing_ok=True)
    found = loading(job)
    chosen = {one.recipe: threads_of(job, one, around) for one in job.contenders if one.name == one.recipe}
    threads = {one.name: chosen[one.recipe] for one in job.contenders}  # the twin's are the baseline's
    measurement = SideBySideMeasurement(job, around, threads)
    try:
        if found.loaded == "all":
            measurement.with_all_loaded(_planned)
        else:
            measurement.with_one_loaded()
    except HostSuspendedError as error:
        raise UserError(str(error)) from None
    for one in job.contenders:
        log = job.energy_serve / f"{one.name}.json"
        if not log.exists():  # the workflow expects one
            failure = measurement.measured[one.name]
            write_json(log, {"id": None, "energy_J": None, "reason": failure.failure or failure.energy_reason})
    # Only now that the ledgers have ended: so the report finds the same energies.
    written = document_of(measurement, found.reason, around.turns)
    if all(server.failure is not None for server in written.servers):
        return written
    written.write(job.out)
    points = [point for server in written.servers for point in server.points]
    tokens = [point.completion_tokens for point in points]
    known = {} if None in tokens else {"tokens": sum(one or 0 for one in tokens)}
    write_work(requests=sum(point.answered for point in points), **known)
    return written


def _planned(measurement: SideBySideMeasurement, concurrency: Concurrency) -> PlannedBlocks:
    """Return how many blocks there are: fixed, or by the spread in the first stage (deploy.narrow)."""
    job = measurement.job
    settings = job.settings
    if settings.narrow is None:
        return fixed(settings, concurrency)
    spent = {
        name: _per_block(job, one, one.rounds.get(concurrency, []), measurement.around)
        for name, one in measurement.measured.items()
        if one.failure is None
    }
    baseline = spent.pop(job.baseline, {})
    ratios = [
        [math.log(baseline[block] / own[block]) for block in sorted(baseline.keys() & own.keys())]
        for own in spent.values()
    ]
    if not any(ratios):
        reason = "the first stage alone: there is no ratio to the baseline, whose spread deploy.narrow needs"
        return PlannedBlocks(concurrency=concurrency, first=settings.rounds, blocks=settings.rounds, reason=reason)
    rounds = [one.sent for each in measurement.measured.values() for one in each.rounds.get(concurrency, [])]
    lasting_s = sum(one.window.duration_s for one in rounds) / max(1, len(rounds))
    most = max(settings.rounds, int(settings.most_s / lasting_s) if lasting_s else settings.rounds)
    blocks = needed_blocks(ratios, settings.narrow, most)
    limit = f", and no more fit into deploy.most_s {settings.most_s:g}" if blocks == most else ""
    return PlannedBlocks(
        concurrency=concurrency,
        first=settings.rounds,
        blocks=blocks,
        reason=f"from the spread in the first {settings.rounds} blocks (deploy.narrow {settings.narrow:g}{limit})",
    )


def _per_block(
    job: MeasurementJob, measured: Measured, rounds: Sequence[PlacedRound], around: RunningJob
) -> dict[int, float]:
    """Return what a request takes in each block: energy (J), or time (s) where an energy is unknown."""
    energies = round_energies(job, measured, rounds, around.turns)
    known = [energy.value for energy in energies if energy is not None and energy.value > 0]
    spent = known if len(known) == len(rounds) else [one.sent.window.duration_s for one in rounds]
    return {one.block: amount / len(one.sent.answered) for one, amount in zip(rounds, spent, strict=True)}
