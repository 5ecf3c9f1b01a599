"""`greenllm measure`, without its options: threads are chosen, servers measured side by side, the result written."""

from greenllm.attribution.live import RunningJob
from greenllm.documents.measurement import PlannedBlocks, SideBySide, ThreadChoice
from greenllm.files import write_json
from greenllm.load.loading import loading
from greenllm.load.measurement import document_of, predictions_of
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.side_by_side import Concurrency, SideBySideMeasurement, fixed
from greenllm.work import write_work


def measure(job: MeasurementJob, around: RunningJob) -> SideBySide:
    """Measure the servers side by side and write the measurement, unless no server has one.

    `around` is this process's own job. Raises `UserError` if an input is not valid, or every server fails.
    """
    for contender in job.contenders:
        predictions_of(contender)
    for folder in (job.energy_serve, job.energy_load, job.energy_probe):
        folder.mkdir(parents=True, exist_ok=True)
    for one in job.contenders:  # of an earlier measurement
        (job.energy_serve / f"{one.name}.json").unlink(missing_ok=True)
    found = loading(job)
    threads = {one.name: _threads(job, one) for one in job.contenders}
    measurement = SideBySideMeasurement(job, around, threads)
    if found.loaded == "all":
        measurement.with_all_loaded(_planned)
    else:
        measurement.with_one_loaded()
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
    return fixed(measurement.job.settings, concurrency)


def _threads(job: MeasurementJob, contender: Contender) -> ThreadChoice:
    """Return the number of threads of a server."""
    asked = job.settings.threads
    if asked == "auto":
        return ThreadChoice(threads=job.threads, reason="as many as the job reserves")
    return ThreadChoice(threads=min(asked, job.threads), reason="set by deploy.threads")
