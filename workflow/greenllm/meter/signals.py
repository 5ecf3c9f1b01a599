"""Signals: passed on to the command's processes, each exactly once."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable

from greenllm.meter.process_tree import ProcessTree, children_of, end_with_parent, read_process

# Signals that are passed on: those by which a person or a scheduler ends or notifies a job. Stop and continue (Ctrl-Z,
# fg) reach the whole group through the terminal.
FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)
# After one of these, a command that ends with an error counts as killed, however it handled the signal.
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)

# Asks a running meter for a sample now, so that a window has samples at its edges. It is not passed on.
SAMPLE_NOW = signal.SIGRTMIN + 1

SI_KERNEL = 0x80  # asm-generic/siginfo.h: the terminal's Ctrl-C, Ctrl-\ and hang-up, which go to the whole group
PR_SET_NAME = 15  # linux/prctl.h
SENTINEL_NAME = "meter-sentinel"
# The kernel walks a process group while its first members may run already.
GROUP_DELIVERY_S = 0.01


class Sentinel:
    """A child that blocks all signals, so that those sent to the process group stay pending in it.

    The meter itself cannot distinguish kill(2) to its group from kill(2) to itself; the sentinel can.
    """

    def __init__(self) -> None:
        """Fork the sentinel, which dies with this process."""
        meter = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            end_with_parent(signal.SIGKILL)
            if os.getppid() != meter:  # it has died before
                os._exit(0)
            ctypes.CDLL(None).prctl(PR_SET_NAME, SENTINEL_NAME.encode(), 0, 0, 0)
            os.closerange(0, 1 << 20)
            while True:
                signal.pause()

    def has_received(self, signal_number: int) -> bool:
        """Return whether the sentinel was sent this signal since it began."""
        try:
            with open(f"/proc/{self.pid}/status", "rb") as file:  # noqa: PTH123
                for line in file:
                    if line.startswith(b"ShdPnd:"):
                        return bool(int(line.split()[1], 16) >> (signal_number - 1) & 1)
        except OSError:
            pass
        return False

    def end(self) -> None:
        """End and reap the sentinel."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def pass_on(received: signal.struct_siginfo, sentinel: Sentinel, tree: ProcessTree) -> Sentinel:
    """Pass a signal on to the command's processes, unless their group was sent it. Returns the sentinel to use next."""
    if received.si_code == SI_KERNEL:
        return sentinel
    time.sleep(GROUP_DELIVERY_S)
    if sentinel.has_received(received.si_signo):
        tree.ignored.discard(sentinel.pid)
        sentinel.end()
        sentinel = Sentinel()  # a pending signal stays pending, and would hide the next one
        tree.ignored.add(sentinel.pid)
        return sentinel
    for pid in recipients(tree):
        try:
            os.kill(pid, received.si_signo)
        except (ProcessLookupError, PermissionError):
            continue
    return sentinel


def recipients(tree: ProcessTree) -> list[int]:
    """Return the processes to pass a signal on to: all of the tree but those of nested meters, which pass it on."""
    chosen = []
    waiting = [pid for pid in children_of(os.getpid()) if pid not in tree.ignored]
    while waiting:
        pid = waiting.pop(0)
        process = read_process(pid)
        if process is None or process.name == SENTINEL_NAME:
            continue
        chosen.append(pid)
        children = children_of(pid, process.threads)
        if not _has_sentinel(children):  # a nested meter passes signals on itself
            waiting += children
    return chosen


def ask_for_sample(pid: int) -> None:
    """Ask the meter with this process id for a sample.

    The signal is sent only to a meter that runs a command, which has a sentinel. It would end another process: a Python
    program with a `Meter` in it, a meter that has not begun, or whatever has this id here in another PID namespace.
    """
    if _has_sentinel(children_of(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SAMPLE_NOW)


def _has_sentinel(children: Iterable[int]) -> bool:
    return any(child.name == SENTINEL_NAME for pid in children if (child := read_process(pid)))
