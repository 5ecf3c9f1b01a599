"""A loaded server with the load generator that sends to it, both metered; its rounds have samples at their edges."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenllm.attribution.live import RunningJob
from greenllm.documents.measurement import MeasurementWindow
from greenllm.errors import UserError
from greenllm.load.deployed_server import Target, serving
from greenllm.load.generator_process import LoadGenerator, running_load
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.processes import greenllm
from greenllm.load.rounds import Order, Round
from greenllm.meter.signals import ask_for_sample

# A meter takes a sample within a few ms of being asked.
SAMPLING_s = 0.01
# The wall clock and CLOCK_MONOTONIC differ by more than this after a suspension of the host, or a step of the clock.
# CLOCK_BOOTTIME, which counts only suspensions, does not count those of a virtual machine by its host.
CLOCKS_s = 1.0


@dataclass(frozen=True)
class LoadedServer:
    """A server that is ready, its load generator, and the id of its attempt (None for a server elsewhere)."""

    target: Target
    generator: LoadGenerator
    serve_id: str | None
    meters: Sequence[int]

    def round(self, order: Order) -> Round:
        """Send a round, with a sample of the ledgers before and after it.

        Raises `UserError` if the load generator ends.
        """
        self.sample()
        sent = self.generator.round(order)
        self.sample()
        return sent

    def sample(self) -> None:
        """Have the meters take a sample."""
        for pid in self.meters:
            ask_for_sample(pid)
        time.sleep(SAMPLING_s)


def suspended(window: MeasurementWindow) -> bool:
    """Return whether the host was suspended in a window, or its wall clock was set."""
    return abs(window.wall_s - window.duration_s) > CLOCKS_s


@contextlib.contextmanager
def loading_server(
    job: MeasurementJob, contender: Contender, threads: int, start: int, around: RunningJob
) -> Iterator[Callable[[], LoadedServer]]:
    """Start a server, and yield what waits until it is ready and starts its load generator; both end with the block.

    `start` counts from 0. Raises `UserError` if the server cannot start, or dies.
    """
    name = f"{contender.name}.json" if start == 0 else f"{contender.name}-start-{start + 1}.json"
    with contextlib.ExitStack() as stack:
        started = stack.enter_context(serving(job, contender, threads, job.energy_serve / name))

        def loaded() -> LoadedServer:
            target = started()
            load = running_load(_generator(job, contender, target, job.energy_load / name))
            generator = stack.enter_context(load)
            serve_id, meters = None, [generator.process.process.pid, around.meter_pid]
            if (pid := target.metering_pid) is not None:
                serve_id = around.inside(pid)
                meters.append(pid)
            return LoadedServer(target, generator, serve_id, meters)

        yield loaded


def _generator(job: MeasurementJob, contender: Contender, target: Target, log: Path) -> list[str]:
    endpoint = target.endpoint
    options = {
        "--name": endpoint.served_name,
        "--system": endpoint.system,
        "--key-variable": endpoint.key_variable,
        "--tokenizer": target.tokenizer,
        "--max-tokens": target.max_tokens,
    }
    return [
        *job.meter("load", contender, log, "--gpus", "0"),
        *greenllm("load", "--url", endpoint.url, "--predictions", str(contender.predictions)),
        *(word for option, value in options.items() if value is not None for word in (option, str(value))),
        *(["--chat"] if endpoint.chat else []),
    ]


def failing(stack: contextlib.ExitStack, error: UserError) -> str:
    """Close what a server's failure leaves open; return the reason, with what the server's log says."""
    try:
        stack.__exit__(UserError, error, error.__traceback__)
    except UserError as explained:
        return str(explained)
    return str(error)
