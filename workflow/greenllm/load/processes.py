"""Metered processes of a deployment: started, awaited, stopped, and never left behind."""

import contextlib
import ctypes
import importlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from greenllm.environment import SAFE_PATH
from greenllm.errors import UserError
from greenllm.load.energy import closely_sampled
from greenllm.load.memory import processes_of
from greenllm.load.rounds import Order, Round
from greenllm.serving.command import READY

# A graceful stop waits for requests under way; nobody sends any when a server is stopped here.
STOP_s = 60
# How long after its last answer a server that died is waited for, to be told by its own last words.
DEATH_s = 2
LOOK_s = 0.1
SHOWN_LINES = 100
PR_SET_PDEATHSIG = 1
# What measuring needs, and takes a second to import: meanwhile the server starts.
NEEDED_LATER = ("greenllm.attribution", "scipy.special")


@dataclass(frozen=True)
class Server:
    """A server that is ready: its address, and the meter that watches it."""

    url: str
    meter_pid: int


def metered(rule: str, wildcards: Mapping[str, str], out: Path, *options: str) -> list[str]:
    """Return the beginning of a command that runs the rest under a meter of its own."""
    # `-P`: it imports nothing from the current folder, whatever the environment of the command that it runs says.
    command = [sys.executable, "-P", "-m", "greenllm", "meter", "--rule", rule, "--out", str(out), *options]
    for key, value in wildcards.items():
        command += ["--wildcard", f"{key}={value}"]
    return [*command, "--"]


def greenllm(*arguments: str) -> list[str]:
    """Return the command line of a subcommand, by this interpreter: no PATH or activated environment is needed."""
    return [sys.executable, "-m", "greenllm", *arguments]


@contextlib.contextmanager
def running_server(command: Sequence[str]) -> Iterator[Server]:
    """Run `greenllm serve` under a meter and yield it once it is ready; stop it gracefully in the end.

    The server holds the reading end of a pipe as its standard input and stops where that ends: also when this
    process is killed. The end of its log goes to our standard error when it has stopped. Raises `UserError` with the
    last lines where it fails or dies.
    """

    def ready(process: "subprocess.Popen[str]") -> str | None:
        assert process.stdout is not None
        return next((line.removeprefix(READY).strip() for line in process.stdout if line.startswith(READY)), None)

    with _running([*command, "--until-eof"], ready, stdout=subprocess.PIPE) as server:
        yield server


@contextlib.contextmanager
def running_other_server(command: Sequence[str], url: str, ready_s: float) -> Iterator[Server]:
    """Run another OpenAI server under a meter and yield it once `url` answers; in the end stop all its processes.

    Raises `UserError` where it dies, or is not ready after `ready_s` seconds.
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
                time.sleep(LOOK_s)
        return None

    # A script of the user's imports what is beside it, as usual.
    environment = {name: value for name, value in closely_sampled().items() if name != SAFE_PATH}
    with _running(command, ready, stdout=None, preexec_fn=_end_with_parent, environment=environment) as server:
        yield server


@contextlib.contextmanager
def metering_cgroup(meter: Sequence[str]) -> Iterator[None]:
    """Run a meter that claims a control group for the time of the block, around a command that does nothing.

    Raises `UserError` with the meter's message where it refuses.
    """

    def ready(process: "subprocess.Popen[str]") -> str | None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("\n")
            process.stdin.flush()
        return process.stdout.readline() or None  # cat gives it back once the meter has taken its first sample

    with _running([*meter, "cat"], ready, stdout=subprocess.PIPE):
        yield


@contextlib.contextmanager
def _running(
    command: Sequence[str],
    ready: Callable[["subprocess.Popen[str]"], str | None],
    *,
    stdout: int | None,
    preexec_fn: Callable[[], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log if stdout is None else stdout,
            stderr=log,
            text=True,
            env=_environment() if environment is None else environment,
            preexec_fn=preexec_fn,
        )
        asked_to_stop = False
        try:
            for module in NEEDED_LATER:
                importlib.import_module(module)
            url = ready(process)
            if url is None:
                raise UserError(f"the server ended with status {process.wait()} before it was ready: {_tail(log)}")
            try:
                yield Server(url, process.pid)
            except UserError as error:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(DEATH_s)
                    raise UserError(f"{error}; the server died with status {status}: {_tail(log)}") from None
                raise
            asked_to_stop = process.poll() is None
        finally:
            status = _stop(process, gracefully=stdout is not None)
            _show(log)
        if status != 0 and not (asked_to_stop and stdout is None):
            raise UserError(f"the server ended with status {status}: {_tail(log)}")


@dataclass(frozen=True)
class LoadGenerator:
    """`greenllm load --orders`, which waits for what to send."""

    process: "subprocess.Popen[str]"

    def round(self, order: Order) -> Round:
        """Send a round; raise UserError where the generator ends instead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(order)) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise UserError(f"greenllm load ended with status {self.process.wait()}; its message is above")
        return Round.from_json(json.loads(line))


@contextlib.contextmanager
def running_load(command: Sequence[str]) -> Iterator[LoadGenerator]:
    """Run `greenllm load` under a meter and yield it, to be given orders; it ends with its standard input."""
    process = subprocess.Popen(
        [*command, "--orders"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
    )
    try:
        yield LoadGenerator(process)
    finally:
        _stop(process, gracefully=True)


def _environment() -> dict[str, str]:
    """Return the environment of our own commands: they import nothing from the current folder."""
    return {**closely_sampled(), SAFE_PATH: "1"}


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent ends, however it does (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _stop(process: "subprocess.Popen[str]", *, gracefully: bool) -> int:
    """Stop a metered command (`gracefully`: by the end of its standard input) and all its processes."""
    try:
        processes = processes_of(process.pid)
    except psutil.NoSuchProcess:
        processes = []
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        if gracefully:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(STOP_s)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(STOP_s)
        process.kill()
        return process.wait()
    finally:
        for left in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        if process.stdout is not None:
            process.stdout.close()


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
