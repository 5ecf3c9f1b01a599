"""`greenllm measure`, without its options: threads are chosen, servers measured side by side, the result written."""

from collections.abc import Sequence

import numpy as np

from greenllm.attribution.live import RunningJob
from greenllm.documents.measurement import PlannedStarts, SideBySide
from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.load.loading import loading
from greenllm.load.measurement import document_of, predictions_of, round_energies
from greenllm.load.measurement_job import MeasurementJob
from greenllm.load.probed_threads import threads_of
from greenllm.load.side_by_side import HostSuspendedError, Measured, PlacedRound, SideBySideMeasurement
from greenllm.repetitions import needed_starts, per_unit
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
    measurement = SideBySideMeasurement(job, around, threads, found.loaded)
    try:
        measurement.measure(_planned)
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


def _planned(measurement: SideBySideMeasurement) -> PlannedStarts:
    """Return how often the servers are started: as the settings say, or by the spread in the first stage."""
    job, planned = measurement.job, measurement.planned
    narrow, most_s = job.settings.narrow, job.settings.most_s
    alive = [one for one in measurement.measured.values() if one.failure is None]
    if narrow is None:
        return planned
    if len(alive) < 2:
        reason = "the first stage alone: there is no ratio, whose spread deploy.narrow needs"
        return planned.model_copy(update={"reason": reason})
    # A start sends the rounds of all concurrencies.
    rounds = [
        round_ for one in alive for concurrency in measurement.concurrencies for round_ in one.rounds[concurrency]
    ]
    lasting_s = sum(one.sent.window.duration_s for one in rounds) / len(alive) / planned.first
    most = max(planned.first, int(most_s / lasting_s) if lasting_s else 0)
    needed = planned.first
    for concurrency in measurement.concurrencies:
        logs = [_per_start(one, one.rounds[concurrency], measurement.around) for one in alive]
        needed = max(needed, needed_starts(np.log(np.array(logs)), narrow, most))
    limit = f", and no more fit into deploy.most_s {most_s:g}" if needed == most else ""
    reason = f"from the spread in the first {planned.first} starts (deploy.narrow {narrow:g}{limit})"
    return planned.model_copy(update={"starts": needed, "reason": reason})


def _per_start(measured: Measured, rounds: Sequence[PlacedRound], around: RunningJob) -> list[float]:
    """Return what a request takes in each start: energy (J), or time (s) where an energy is unknown."""
    energies = round_energies(measured, rounds, around.turns)
    known = [energy.value for energy in energies if energy is not None and energy.value > 0]
    spent = known if len(known) == len(rounds) else [one.sent.window.duration_s for one in rounds]
    pairs = zip(rounds, spent, strict=True)
    return list(per_unit((one.start, amount, len(one.sent.answered)) for one, amount in pairs).values())
