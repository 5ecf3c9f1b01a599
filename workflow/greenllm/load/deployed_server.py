"""The server that the load is sent to: our own, another OpenAI server, or an endpoint that runs already."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from greenllm.config.models import Deployment
from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.load.memory import resident_bytes
from greenllm.load.processes import greenllm, metered
from greenllm.load.server_command import filled_in, server_words
from greenllm.load.servers import metering_cgroup, running_other_server, running_server
from greenllm.meter.cgroups import group_of, places_of
from greenllm.model_folder.addresses import with_version
from greenllm.model_folder.endpoint import Endpoint
from greenllm.model_folder.manifest import Manifest

ELSEWHERE = "the endpoint runs elsewhere; if it is on this host, name the control group of its processes: model.cgroup"
NO_GPU_ENERGY = "of the control group's processor time and memory only: a GPU's energy is not included"


@dataclass(frozen=True)
class Deployed:
    """A bundle to serve, and the settings."""

    bundle: Path
    manifest: Manifest
    settings: Deployment
    max_tokens: int
    """Most tokens of an answer."""
    threads: int
    gpus: int
    device: str
    wildcards: Mapping[str, str]
    energy_log: Path
    ready_s: float
    """Longest start of another server."""

    def meter(self, *options: str) -> list[str]:
        """Return the beginning of the server's command line: its meter."""
        return metered("serve", self.wildcards, self.energy_log, "--threads", str(self.threads), *options)


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
    """Process id of the meter around its processes, if this host started them."""
    metered: bool = True
    energy_reason: str | None = None
    """Why its energy is unknown, or what it does not include."""

    def memory(self, gpus: int) -> tuple[int | None, str | None]:
        """Return the main memory of its processes in bytes, and why it is unknown or what it does not include."""
        if self.meter_pid is None:
            return None, "the endpoint's processes were not started here"
        found, reason = resident_bytes(self.meter_pid)
        return found, reason or ("main memory only: the GPU's own is not included" if gpus else None)


@contextlib.contextmanager
def serving(deployed: Deployed) -> Iterator[Target]:
    """Yield the server of a bundle. One that is started here runs for the time of the block.

    Raises `UserError` if it cannot start, or dies.
    """
    if deployed.manifest.endpoint is not None:
        chosen = _endpoint(deployed, deployed.manifest.endpoint)
    elif deployed.settings.server is not None:
        chosen = _other_server(deployed, deployed.settings.server)
    else:
        chosen = _our_server(deployed)
    with chosen as target:
        yield target


@contextlib.contextmanager
def _our_server(deployed: Deployed) -> Iterator[Target]:
    settings = deployed.settings
    command = [
        *deployed.meter("--gpus", str(deployed.gpus)),
        *greenllm("serve", str(deployed.bundle), "--port", "0", "--threads", str(deployed.threads)),
        *("--device", deployed.device, "--batch", str(settings.batch), "--max-tokens", str(deployed.max_tokens)),
        *("--queue", str(max(1024, *settings.concurrency))),
    ]
    with running_server(command) as server:
        yield Target(Endpoint(url=with_version(server.url)), deployed.manifest.engine, meter_pid=server.meter_pid)


@contextlib.contextmanager
def _other_server(deployed: Deployed, server: str) -> Iterator[Target]:
    port = _free_port()
    name = deployed.manifest.name or deployed.bundle.name
    command = filled_in(
        server_words(server),
        {
            "model": lambda: str(deployed.bundle),
            "name": lambda: name,
            "port": lambda: str(port),
            "context": lambda: str(_context(deployed)),
        },
    )
    with running_other_server(
        [*deployed.meter("--gpus", str(deployed.gpus)), *command],
        f"http://127.0.0.1:{port}",
        deployed.ready_s,
    ) as running:
        yield Target(
            Endpoint(url=with_version(running.url), served_name=name),
            Path(command[0]).name,
            deployed.max_tokens,
            tokenizer=deployed.bundle if (deployed.bundle / "tokenizer.json").is_file() else None,
            meter_pid=running.meter_pid,
        )


@contextlib.contextmanager
def _endpoint(deployed: Deployed, endpoint: Endpoint) -> Iterator[Target]:
    if endpoint.cgroup is None:
        yield Target(endpoint, deployed.manifest.engine, deployed.max_tokens, metered=False, energy_reason=ELSEWHERE)
        return
    if not any(place.is_dir() for place in places_of(group_of(endpoint.cgroup))):
        raise UserError(
            f"model.cgroup: no control group {endpoint.cgroup!r} on this host; expected that of the endpoint's "
            "processes, a path under /sys/fs/cgroup, such as system.slice/docker-ID.scope"
        )
    with metering_cgroup(deployed.meter("--gpus", "0", "--cgroup", endpoint.cgroup)):
        yield Target(endpoint, deployed.manifest.engine, deployed.max_tokens, energy_reason=NO_GPU_ENERGY)


def _context(deployed: Deployed) -> int:
    """Return the model's context: the longest prompt and answer together, in tokens."""
    longest = deployed.manifest.context
    if longest is None:
        longest = read_json(deployed.bundle / "config.json", "fetch the model again").get("max_position_embeddings")
    if longest is None:
        raise UserError(f"deploy.server: the context of {deployed.bundle} is unknown; write it in place of {{context}}")
    return int(longest)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
