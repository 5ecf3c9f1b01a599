"""Metered processes: their commands and environment, and how all of their processes are stopped."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import psutil

from greenllm.environment import SAFE_PATH
from greenllm.load.memory import processes_of

# Time between two samples of the meter of a server or a load generator (s). Samples at the edges of a round are asked
# for, so few are needed between them: a sample takes about 1 ms of processor time, and a server that waits takes none.
INTERVAL_s = 10.0
# A server that is stopped gracefully first answers the requests that are running; none are by then.
STOP_s = 60


def metered(rule: str, wildcards: Mapping[str, str], out: Path, *options: str) -> list[str]:
    """Return the beginning of a command line that runs the rest under a meter of its own."""
    # `-P`: the meter imports nothing from the current folder, whatever the environment of its command allows.
    command = [sys.executable, "-P", "-m", "greenllm", "meter", "--rule", rule, "--out", str(out), *options]
    for key, value in wildcards.items():
        command += ["--wildcard", f"{key}={value}"]
    return [*command, "--"]


def greenllm(*arguments: str) -> list[str]:
    """Return the command line of a subcommand, run by this interpreter, so that it needs no PATH."""
    return [sys.executable, "-m", "greenllm", *arguments]


def run_under_meter(rule: str, *, ledger: Path, threads: int, cgroup: str | None, gpus: int = 0) -> NoReturn:
    """Replace this process by a meter around the same command, alone on the host, with its own ledger folder.

    Only energy within one meter can be divided between the server and the load generator. `cgroup` is a control group
    that an inner meter claims: the outer one must claim it, too.
    """
    options = ["--threads", str(threads), "--exclusive", "--rule", rule, "--ledger", str(ledger.absolute())]
    if gpus:
        options += ["--gpus", str(gpus)]
    if cgroup is not None:
        options += ["--cgroup", cgroup]
    os.environ[SAFE_PATH] = "1"
    os.execv(sys.executable, [*greenllm("meter", *options, "--"), *sys.orig_argv])


def own_environment() -> dict[str, str]:
    """Return the environment of our own commands: they import nothing from the current folder."""
    return {**os.environ, SAFE_PATH: "1", "GREENLLM_METER_INTERVAL_S": str(INTERVAL_s)}


def stop(process: "subprocess.Popen[str]", *, gracefully: bool) -> int:
    """Stop a metered command (`gracefully`: by the end of its standard input) and all its processes.

    Returns the exit status.
    """
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
