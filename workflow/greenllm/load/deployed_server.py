"""The server that the load is sent to: our own, another OpenAI server, or an endpoint that runs already."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.memory import resident_bytes
from greenllm.load.server_command import filled_in, server_words
from greenllm.load.servers import gpus_of, metering_cgroup, running_other_server, running_server
from greenllm.meter.cgroups import group_of, places_of
from greenllm.model_folder.addresses import with_version
from greenllm.model_folder.endpoint import Endpoint

ELSEWHERE = "the endpoint runs elsewhere; if it is on this host, name the control group of its processes: model.cgroup"
NO_GPU_ENERGY = "of the control group's processor time and memory only: a GPU's energy is not included"


@dataclass(frozen=True)
class Target:
    """A running server or endpoint that answers prompts."""

    endpoint: Endpoint
    engine: str
    max_tokens: int | None = None
    """Most tokens to ask for; None if the server itself has that limit."""
    tokenizer: Path | None = None
    """Folder of the model's tokenizer, if the server may read special tokens in texts."""
    meter_pid: int | None = None
    """Process id of the meter around its processes, if they were started here."""
    serve_pid: int | None = None
    """Process id of the meter that claims the control group of an endpoint's processes."""
    gpus: int = 0
    """How many of the job's GPUs it computes on: what our server says, and what is leased for another one."""
    metered: bool = True
    energy_reason: str | None = None
    """Why its energy is unknown, or what it does not include."""

    @property
    def metering_pid(self) -> int | None:
        """Process id of the meter that measures its energy."""
        return self.meter_pid or self.serve_pid

    def memory(self) -> tuple[int | None, str | None]:
        """Return the main memory of its processes in bytes, and why it is unknown or what it does not include."""
        if self.meter_pid is None:
            return None, "the endpoint's processes were not started here"
        found, reason = resident_bytes(self.meter_pid)
        return found, reason or ("main memory only: the GPU's own is not included" if self.gpus else None)


AwaitTarget = Callable[[], Target]


@contextlib.contextmanager
def serving(job: MeasurementJob, contender: Contender, threads: int, log: Path) -> Iterator[AwaitTarget]:
    """Start the server of a bundle, and yield what waits until it is ready.

    One that is started here runs for the time of the block; its energy log is `log`.

    Raises `UserError` if it cannot start, or dies.
    """
    if contender.manifest.endpoint is not None:
        chosen = _endpoint(job, contender, contender.manifest.endpoint, log)
    elif job.settings.server is not None:
        chosen = _other_server(job, contender, job.settings.server, log)
    else:
        chosen = _our_server(job, contender, threads, log)
    with chosen as started:
        yield started


@contextlib.contextmanager
def _our_server(job: MeasurementJob, contender: Contender, threads: int, log: Path) -> Iterator[AwaitTarget]:
    settings = job.settings
    command = [
        *job.meter("serve", contender, log),
        *(contender.python, "-m", "greenllm", "serve", str(contender.bundle), "--port", "0", "--threads", str(threads)),
        *("--device", contender.device, "--batch", str(settings.batch), "--max-tokens", str(job.max_tokens)),
        *("--queue", str(max(1024, *settings.concurrency))),
    ]
    with running_server(command) as started:

        def target() -> Target:
            server = started()
            return Target(
                Endpoint(url=with_version(server.url)),
                contender.manifest.engine,
                meter_pid=server.meter_pid,
                gpus=gpus_of(server.url),
            )

        yield target


@contextlib.contextmanager
def _other_server(job: MeasurementJob, contender: Contender, server: str, log: Path) -> Iterator[AwaitTarget]:
    port, bundle = _free_port(), contender.bundle
    name = contender.manifest.name or bundle.name
    command = filled_in(
        server_words(server),
        {
            "model": lambda: str(bundle),
            "name": lambda: name,
            "port": lambda: str(port),
            "context": lambda: str(_context(contender)),
        },
    )
    meter = job.meter("serve", contender, log)
    with running_other_server([*meter, *command], f"http://127.0.0.1:{port}", job.ready_s) as started:

        def target() -> Target:
            server = started()
            return Target(
                Endpoint(url=with_version(server.url), served_name=name),
                Path(command[0]).name,
                job.max_tokens,
                tokenizer=bundle if (bundle / "tokenizer.json").is_file() else None,
                meter_pid=server.meter_pid,
                gpus=job.gpus_for(contender),
            )

        yield target


@contextlib.contextmanager
def _endpoint(job: MeasurementJob, contender: Contender, endpoint: Endpoint, log: Path) -> Iterator[AwaitTarget]:
    engine, max_tokens = contender.manifest.engine, job.max_tokens
    if endpoint.cgroup is None:
        yield lambda: Target(endpoint, engine, max_tokens, metered=False, energy_reason=ELSEWHERE)
        return
    if not any(place.is_dir() for place in places_of(group_of(endpoint.cgroup))):
        raise UserError(
            f"model.cgroup: no control group {endpoint.cgroup!r} on this host; expected that of the endpoint's "
            "processes, a path under /sys/fs/cgroup, such as system.slice/docker-ID.scope"
        )
    meter = job.meter("serve", contender, log, "--gpus", "0", "--cgroup", endpoint.cgroup)
    with metering_cgroup(meter) as started:
        yield lambda: Target(endpoint, engine, max_tokens, serve_pid=started().meter_pid, energy_reason=NO_GPU_ENERGY)


def _context(contender: Contender) -> int:
    """Return the model's context: the longest prompt and answer together, in tokens."""
    longest = contender.manifest.context
    if longest is None:
        longest = read_json(contender.bundle / "config.json", "fetch the model again").get("max_position_embeddings")
    if longest is None:
        raise UserError(
            f"deploy.server: the context of {contender.bundle} is unknown; write it in place of {{context}}"
        )
    return int(longest)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
