"""Runs a command under the meter: the wrapper itself."""

import errno
import json
import math
import os
import signal
from pathlib import Path

from greenllm.ledger.records import Status
from greenllm.meter.cgroups import tree_of
from greenllm.meter.console import let_go_of_standard_streams, warn
from greenllm.meter.options import Options, absolute
from greenllm.meter.planned_start import PAUSE_VARIABLE, PAUSED, PlannedStretch, not_passed, wait_until
from greenllm.meter.process_tree import ProcessTree, become_subreaper
from greenllm.meter.recording import Outcome, Recording
from greenllm.meter.signals import ENDING, FORWARDED, SAMPLE_NOW, Sentinel, pass_on

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # POSIX, as shells report them


def run_metered(options: Options) -> int:
    """Run the command, write its ledger and its energy log, and return its exit status (128 + signal if one ended it).

    It starts when it is planned, on the device that is planned. A command that pauses as planned is run again in the
    next stretch of time, as another attempt. Raises UserError where the command is not started at all: a lease that
    cannot be had, a bad interval.
    """
    planned = options.planned()
    options = options.placed(planned.device)
    stretches = planned.stretches
    while True:
        stretches = not_passed(stretches)
        stretch = stretches[0] if stretches else None
        held_s = 0.0 if stretch is None else wait_until(stretch.start_s)
        outcome = _run_once(options, stretch, held_s)
        if outcome.status != "paused":
            return outcome.exit_code
        stretches = stretches[1:]  # it may have paused before the stretch's end: the nearest checkpoint came earlier


def _run_once(options: Options, stretch: PlannedStretch | None, held_s: float) -> Outcome:
    """Run the command in one attempt, until it ends or pauses."""
    # While it waits for a lease there is nothing to clean up: a signal ends the meter as it ends any program.
    signal.signal(
        signal.SIGINT, signal.SIG_DFL if signal.getsignal(signal.SIGINT) != signal.SIG_IGN else signal.SIG_IGN
    )
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, children could not be waited for
    recording = Recording(options, planned_s=None if stretch is None else stretch.start_s, held_s=held_s)
    try:
        become_subreaper()
        tree = tree_of(options.cgroups)
        work_file = absolute(os.environ.get("TMPDIR") or "/tmp") / f"greenllm-{recording.id}.work.json"
    except BaseException:
        recording.abandon()
        raise
    # Signals are taken from a queue, one after the other, instead of by handlers. A signal that was ignored when the
    # meter started (nohup) stays ignored, for the command too. The others are blocked until the log is written, so
    # that none ends the meter before, nor leaves a power limit set.
    taken = {s for s in FORWARDED if signal.getsignal(s) != signal.SIG_IGN} | {signal.SIGCHLD, SAMPLE_NOW}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    try:
        recording.begin(tree)
    except BaseException:
        recording.abandon()
        raise
    try:
        ended_by = sorted(signal.sigpending() & taken & set(ENDING))
        pause_s = None if stretch is None else stretch.pause_s
        command = _Command(options.command, work_file, recording, tree, taken, mask, pause_s)
        # A signal that came before the command began ends the attempt: nothing would pass the terminal's Ctrl-C on.
        outcome = Outcome("killed", 128 + ended_by[0]) if ended_by else command.run()
    except BaseException:
        recording.close()
        raise
    recording.end(outcome)
    signal.signal(SAMPLE_NOW, signal.SIG_IGN)  # one that came too late would end this process instead of its command
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if outcome.status == "paused":  # otherwise this process ends now
        recording.slots.leave()
    return outcome


class _Command:
    """A command, its processes, and the signals that it is passed."""

    def __init__(
        self,
        command: list[str],
        work_file: Path,
        recording: Recording,
        tree: ProcessTree,
        taken: set[int],
        mask: set[int | signal.Signals],
        pause_s: float | None,
    ) -> None:
        """The command gets the signal mask `mask`; the signals `taken`, which are blocked, are passed on to it.

        At `pause_s` (Unix time; None: never) it is to pause.
        """
        self._command, self._work_file, self._recording, self._tree = command, work_file, recording, tree
        self._taken, self._mask, self._pause_s = taken, mask, pause_s

    def run(self) -> Outcome:
        """Run the command to its end."""
        command = self._command
        try:
            pid = os.posix_spawnp(
                command[0],
                command,
                {
                    **os.environ,
                    **self._recording.slots.environment,
                    **self._recording.environment,
                    "GREENLLM_WORK": str(self._work_file),
                    **({} if self._pause_s is None else {PAUSE_VARIABLE: str(self._pause_s)}),
                },
                setsigmask=self._mask,
                # Python ignores the first two; this process ignores the last after an earlier stretch.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, SAMPLE_NOW],
            )
        except OSError as error:
            found = error.errno != errno.ENOENT
            reason = "cannot be executed" if found else "command not found"
            warn(f"error: {command[0]}: {reason} ({error.strerror})")
            return Outcome("failed", NOT_EXECUTABLE if found else NOT_FOUND)
        if self._pause_s is None:  # after a pause the command gets the streams again
            let_go_of_standard_streams()
        status, exit_code = self._watch(pid)
        left_running = len(self._tree.processes())
        if left_running:
            warn(f"warning: {left_running} process(es) of the command are still running; they are no longer metered")
        return Outcome(status, exit_code, left_running, self._work())

    def _watch(self, command_pid: int) -> tuple[Status, int]:
        """Sample, reap and pass signals on until the command ends; return its status and its exit code."""
        sentinel = Sentinel()
        self._tree.ignored.add(sentinel.pid)
        ending = False
        wait_status: int | None = None
        try:
            while wait_status is None:
                received = signal.sigtimedwait(self._taken, self._recording.watch())
                # If the time runs out while the meter is stopped (Ctrl-Z), CPython returns a signal that never came.
                if received and received.si_signo == SAMPLE_NOW:
                    self._recording.sample()
                elif received and received.si_signo in self._taken and received.si_signo != signal.SIGCHLD:
                    ending = ending or received.si_signo in ENDING
                    sentinel = pass_on(received, sentinel, self._tree)
                wait_status = self._reap(command_pid)
        finally:
            sentinel.end()
        if os.WIFSIGNALED(wait_status):
            return "killed", 128 + os.WTERMSIG(wait_status)
        code = os.WEXITSTATUS(wait_status)
        if code == PAUSED and self._pause_s is not None:
            return "paused", code
        return "succeeded" if code == 0 else "killed" if ending else "failed", code

    def _reap(self, command_pid: int) -> int | None:
        """Wait for all children that have ended; return the command's wait status if it is among them."""
        found: int | None = None
        while True:
            try:
                pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if pid == 0:
                return found
            if pid not in self._tree.ignored:
                self._tree.reaped(pid, usage)
            if pid == command_pid:
                found = wait_status

    def _work(self) -> dict[str, float]:
        """The amounts of work that the command reported."""
        try:
            if not self._work_file.exists():
                return {}
            if not self._work_file.is_file():  # a pipe would never end
                raise ValueError
            content = self._work_file.read_bytes()
            self._work_file.unlink()
            work = json.loads(content)
            for unit, amount in work.items():
                unit.encode()  # fails if it cannot be written
                if type(amount) not in (int, float) or not math.isfinite(amount):
                    raise ValueError
        except (OSError, ValueError, AttributeError, OverflowError, RecursionError):
            warn('warning: $GREENLLM_WORK: expected a JSON object of numbers such as {"tokens": 1000}; left out')
            return {}
        return dict(work)
