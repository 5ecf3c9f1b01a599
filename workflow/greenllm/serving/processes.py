"""A metered server as a child process: started, awaited, stopped, and never left behind."""

import contextlib
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from greenllm.errors import UserError
from greenllm.serving.command import READY

# A graceful stop waits for requests under way; nobody sends any when a server is stopped here.
STOP_s = 60
SHOWN_LINES = 100


def metered(rule: str, wildcards: Mapping[str, str], out: Path, *options: str) -> list[str]:
    """Return the beginning of a command that runs the rest under a meter of its own."""
    command = greenllm("meter", "--rule", rule, "--out", str(out), *options)
    for key, value in wildcards.items():
        command += ["--wildcard", f"{key}={value}"]
    return [*command, "--"]


def greenllm(*arguments: str) -> list[str]:
    """Return the command line of a subcommand, by this interpreter: no PATH or activated environment is needed."""
    return [sys.executable, "-m", "greenllm", *arguments]


@contextlib.contextmanager
def running_server(command: Sequence[str]) -> Iterator[str]:
    """Run `greenllm serve` (metered or not) and yield its URL once it is ready; stop it gracefully in the end.

    The server holds the reading end of a pipe as its standard input and stops where that ends: also when this
    process is killed. The end of its log goes to our standard error when it has stopped. Raises `UserError` with the
    last lines where it fails or dies.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [*command, "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = next((line.removeprefix(READY).strip() for line in process.stdout if line.startswith(READY)), None)
            if url is None:
                raise UserError(f"the server ended with status {process.wait()} before it was ready: {_tail(log)}")
            try:
                yield url
            except UserError as error:
                if process.poll() is None:
                    raise
                raise UserError(f"{error}; the server died with status {process.returncode}: {_tail(log)}") from None
        finally:
            status = _stop(process)
            _show(log)
        if status != 0:
            raise UserError(f"the server ended with status {status}: {_tail(log)}")


def _stop(process: "subprocess.Popen[str]") -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        return process.wait(STOP_s)
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return process.wait(STOP_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
    finally:
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
