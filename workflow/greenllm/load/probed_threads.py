"""The number of threads of a server: set, or probed under a meter inside the measurement."""

import time

from greenllm.attribution.live import RunningJob, Turn
from greenllm.documents.measurement import ThreadChoice
from greenllm.errors import UserError
from greenllm.load.loaded_server import SAMPLING_s
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.thread_choice import choose, without_probe
from greenllm.load.thread_probe import probe_words, probed_rounds
from greenllm.meter.signals import ask_for_sample


def threads_of(job: MeasurementJob, contender: Contender, around: RunningJob) -> ThreadChoice:
    """Return the number of threads of a server, probed where the settings ask for that and the engine can change it."""
    settings = job.settings
    if (choice := without_probe(settings, contender.manifest.engine, job.threads)) is not None:
        return choice
    ids: list[str] = []

    def at_edge(meter_pid: int) -> None:
        for pid in (meter_pid, around.meter_pid):
            ask_for_sample(pid)
        time.sleep(SAMPLING_s)
        if not ids:
            ids.append(around.inside(meter_pid))

    words = probe_words(contender.bundle, contender.predictions, max_tokens=job.max_tokens, device=contender.device)
    meter = job.meter("probe", contender, job.energy_probe / f"{contender.name}.json")
    try:
        rounds = probed_rounds(
            [*meter, contender.python, "-m", "greenllm", *words],
            threads=job.threads,
            together=min(settings.concurrency[0], settings.batch),
            seed=job.seed,
            at_edge=at_edge,
        )
    except UserError as error:  # the server will not start either, or says why
        return ThreadChoice(threads=job.threads, reason=f"those that are reserved: the probe failed: {error}")
    turns = [
        Turn(ids[0], one.window.monotonic_start_s, one.window.monotonic_end_s, one.order.threads, one.gpus)
        for one in rounds
    ]
    return choose(rounds, around.turns(turns), settings.latency_s)
