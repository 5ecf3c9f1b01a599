"""Metered servers: started, awaited, and stopped with all their processes, however this process ends.

Each context manager starts a server and yields a function that waits until it is ready, so that several can start at
once.
"""

import contextlib
import importlib
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from greenllm.environment import SAFE_PATH
from greenllm.errors import UserError
from greenllm.load.processes import own_environment, stop
from greenllm.meter.process_tree import end_with_parent
from greenllm.serving.command import READY

# After a failed request: how long to wait for the server's end, whose last lines then explain the failure.
DEATH_s = 2
# How long a server that is ready may take to say what it computes on.
ANSWER_s = 30
POLL_s = 0.1
SHOWN_LINES = 100
# Needed by the measurement, and slow to import (1 s): imported while the server starts.
NEEDED_LATER = ("greenllm.attribution.live", "scipy.special")


@dataclass(frozen=True)
class Server:
    """A server that is ready: its address, and the process id of its meter."""

    url: str
    meter_pid: int


AwaitServer = Callable[[], Server]


@contextlib.contextmanager
def running_server(command: Sequence[str]) -> Iterator[AwaitServer]:
    """Run `greenllm serve` under a meter and yield what waits until it is ready; stop it gracefully in the end.

    The server's standard input is a pipe from this process. When the pipe is closed, also because this process was
    killed, the server stops. Afterwards the end of its log is printed on standard error. Raises `UserError` with the
    last lines of the log if the server fails or dies.
    """

    def ready(process: "subprocess.Popen[str]") -> str | None:
        assert process.stdout is not None
        return next((line.removeprefix(READY).strip() for line in process.stdout if line.startswith(READY)), None)

    with _running([*command, "--until-eof"], ready, stdout=subprocess.PIPE) as started:
        yield started


def gpus_of(url: str) -> int:
    """Return the number of GPUs that the server of `greenllm serve` at `url` computes on.

    One that was asked to use a GPU, and can't, computes on the CPU. Raises `UserError` if the server does not answer.
    """
    import httpx

    try:
        with httpx.Client(trust_env=False, timeout=ANSWER_s) as client:
            return int(client.get(f"{url}/health").json()["gpus"])
    except httpx.HTTPError as error:
        raise UserError(f"{url}/health: {error or type(error).__name__}") from None


@contextlib.contextmanager
def running_other_server(command: Sequence[str], url: str, ready_s: float) -> Iterator[AwaitServer]:
    """Run another OpenAI server under a meter and yield what waits until `url` answers; stop all its processes then.

    Raises `UserError` if it dies, or is not ready after `ready_s` seconds.
    """
    import httpx

    def ready(process: "subprocess.Popen[str]") -> str | None:
        deadline_s = time.monotonic() + ready_s
        with httpx.Client(trust_env=False, timeout=5) as client:
            while process.poll() is None:
                for path in ("/v1/models", "/health"):
                    with contextlib.suppress(httpx.HTTPError):
                        if client.get(url + path).status_code == 200:
                            return url
                if time.monotonic() >= deadline_s:
                    raise UserError(
                        f"deploy.server: neither {url}/v1/models nor {url}/health answered within {ready_s:g} s; "
                        "does its command have {port}?"
                    )
                time.sleep(POLL_s)
        return None

    # A script of the user's may import the files beside it, as usual.
    environment = {name: value for name, value in own_environment().items() if name != SAFE_PATH}
    with _running(
        command, ready, stdout=None, preexec_fn=lambda: end_with_parent(signal.SIGTERM), environment=environment
    ) as started:
        yield started


@contextlib.contextmanager
def metering_cgroup(meter: Sequence[str]) -> Iterator[AwaitServer]:
    """Run a meter that claims a control group during the block, around a command that does nothing.

    Raises `UserError` with the meter's message if it refuses.
    """

    def ready(process: "subprocess.Popen[str]") -> str | None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("\n")
            process.stdin.flush()
        return process.stdout.readline() or None  # cat returns the line: the meter has taken its first sample

    with _running([*meter, "cat"], ready, stdout=subprocess.PIPE) as started:
        yield started


@contextlib.contextmanager
def _running(
    command: Sequence[str],
    ready: Callable[["subprocess.Popen[str]"], str | None],
    *,
    stdout: int | None,
    preexec_fn: Callable[[], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[AwaitServer]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log if stdout is None else stdout,
            stderr=log,
            text=True,
            env=own_environment() if environment is None else environment,
            preexec_fn=preexec_fn,
        )
        asked_to_stop, early = False, False

        def started() -> Server:
            nonlocal early
            for module in NEEDED_LATER:
                importlib.import_module(module)
            url = ready(process)
            if url is None:
                early = True
                raise UserError(f"the server ended with status {process.wait()} before it was ready: {_tail(log)}")
            return Server(url, process.pid)

        try:
            try:
                yield started
            except UserError as error:
                if early:
                    raise
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(DEATH_s)
                    raise UserError(f"{error}; the server died with status {status}: {_tail(log)}") from None
                raise
            asked_to_stop = process.poll() is None
        finally:
            status = stop(process, gracefully=stdout is not None)
            _show(log)
        if status != 0 and not (asked_to_stop and stdout is None):
            raise UserError(f"the server ended with status {status}: {_tail(log)}")


def _show(log: IO[str]) -> None:
    log.seek(0)
    if lines := deque(log, SHOWN_LINES):
        print(
            f"The server's log, its last {len(lines)} lines:",
            *(line.rstrip() for line in lines),
            sep="\n",
            file=sys.stderr,
        )


def _tail(log: IO[str]) -> str:
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "its log is empty"
