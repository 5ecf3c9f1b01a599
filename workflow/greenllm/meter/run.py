"""Runs a command under the meter: the wrapper itself."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.meter.component import SUMMED, Component
from greenllm.meter.estimate import total
from greenllm.meter.fingerprints import fingerprints
from greenllm.meter.host import boot_id, host_name, processor_count
from greenllm.meter.ledger import SCHEMA, LedgerWriter, read_ledger
from greenllm.meter.options import Options
from greenllm.meter.process_tree import ProcessTree, become_subreaper
from greenllm.meter.provisional import Provisional
from greenllm.meter.sampler import Sampler
from greenllm.meter.sensors import nvml
from greenllm.meter.sensors.discovery import find_sensors
from greenllm.meter.signals import ENDING, FORWARDED, Sentinel, pass_on
from greenllm.meter.slots import take_slots
from greenllm.meter.times import rfc3339

LOG_SCHEMA = "greenllm/energy/1"
DEFAULT_LEDGER = Path("results/ledger")
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # POSIX, as shells report them


@dataclass
class Outcome:
    """How the command ended."""

    status: str
    exit_code: int
    left_running: int = 0


def run_metered(options: Options) -> int:
    """Run the command, write its ledger and its energy log, and return its exit status (128 + signal if one ended it).

    Raises UserError where the command is not started at all: a lease that cannot be had, a bad interval.
    """
    # While waiting for a lease there is nothing to clean up: a signal ends the meter as it ends any program.
    signal.signal(
        signal.SIGINT, signal.SIG_DFL if signal.getsignal(signal.SIGINT) != signal.SIG_IGN else signal.SIG_IGN
    )
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, children could not be waited for
    return _Meter(options).run()


@dataclass
class _Meter:
    options: Options
    interval_s: float = field(default_factory=lambda: _interval_s())

    def run(self) -> int:
        options, environment = self.options, os.environ
        parent = environment.get("GREENLLM_METER_ID")
        self.id = f"{parent}.{os.urandom(3).hex()}" if parent else _new_id()
        # before the lease and the first sample: what it takes is not the job's
        self.inputs = None if options.inputs is None else fingerprints(options.inputs)
        gpus, self.sensors = find_sensors()
        self.slots = take_slots(options, gpus, self.id, environment)
        self.sensors += [nvml.null(gpu.uuid, nvml.MIG_REASON) for gpu in self.slots.gpus if gpu.index < 0]
        self.cpus = processor_count()

        folder = options.ledger or Path(environment.get("GREENLLM_LEDGER") or DEFAULT_LEDGER)
        self.folder = folder.absolute()
        self.host = host_name()
        self.writer = LedgerWriter(self.folder / self.host / f"{self.id}.jsonl")
        become_subreaper()
        self.tree = ProcessTree()
        leased = [gpu.uuid for gpu in self.slots.gpus]
        self.sampler = Sampler(self.sensors, leased, self.tree)
        self.provisional = Provisional(
            self.sensors, self.sampler.columns, leased, self.cpus, self.slots.reserved_cpus, bool(options.gpus)
        )
        self.work_file = Path(environment.get("TMPDIR") or "/tmp") / f"greenllm-{self.id}.work.json"
        first = self.sampler.sample()
        self.start = self._start_record(parent, first)
        self.writer.write(self.start)
        self.writer.write(first, sync=True)
        self.provisional.add(first)
        if self.writer.trouble:
            _warn(f"the ledger cannot be written ({self.writer.trouble}); the command runs, its energy will be missing")

        # Signals are taken from a queue, one after the other, instead of by handlers; those that were ignored when
        # the meter started (nohup) stay so, for the command too. Blocked to the end, they cannot keep it from the log.
        taken = {s for s in FORWARDED if signal.getsignal(s) != signal.SIG_IGN} | {signal.SIGCHLD}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        outcome = self._run_command(taken, mask)
        end = self._end_record(outcome)
        self.writer.write(end, sync=True)
        if self.writer.lost:
            _warn(f"{self.writer.lost} ledger record(s) could not be written ({self.writer.trouble})")
        if options.out is not None:
            self._write_log(options.out, end)
        self.writer.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return outcome.exit_code

    def _start_record(self, parent: str | None, first: list[float | None]) -> dict[str, Any]:
        options, monotonic_s, wall_s = self.options, float(first[0] or 0.0), float(first[1] or 0.0)
        command = [word.encode(errors="surrogateescape").decode(errors="replace") for word in options.command]
        return {
            "record": "start",
            "schema": SCHEMA,
            "id": self.id,
            "parent": parent,
            "run_id": os.environ.get("GREENLLM_RUN_ID") or self.id,
            "host": self.host,
            "boot_id": boot_id(),
            "cpus": self.cpus,
            "pid": os.getpid(),
            "job": {"rule": options.rule, "wildcards": options.wildcards, "attempt": options.attempt},
            "command": command,
            "config_hash": self._config_hash(command),
            "inputs": self.inputs,
            "started": rfc3339(wall_s),
            "wall_s": wall_s,
            "monotonic_s": monotonic_s,
            "waited_s": round(self.slots.waited_s, 3),
            "interval_s": self.interval_s,
            "threads": self.slots.threads,
            "reserved_cpus": self.slots.reserved_cpus,
            "exclusive": options.exclusive,
            "gpus": [{"uuid": gpu.uuid, "index": gpu.index} for gpu in self.slots.gpus],
            "gpus_requested": options.gpus or 0,
            "columns": self.sampler.columns,
            "sensors": [sensor.to_json() for sensor in self.sensors],
            "parameters": {name: parameter.to_json() for s in self.sensors for name, parameter in s.parameters.items()},
        }

    def _config_hash(self, command: list[str]) -> str:
        config = self.options.config
        text = "\0".join(command) if config is None else config
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def _outputs(self) -> dict[str, Any] | None:
        """What the command wrote. Its energy log, which a workflow declares too, is yet to be written: left out."""
        paths, log = self.options.outputs, self.options.out
        if paths is None:
            return None
        return fingerprints(path for path in paths if log is None or Path(path).absolute() != log.absolute())

    def _environment(self) -> dict[str, str]:
        return (
            dict(os.environ)
            | self.slots.environment
            | {
                "GREENLLM_METER_ID": self.id,
                "GREENLLM_LEDGER": str(self.folder),
                "GREENLLM_RUN_ID": self.start["run_id"],
                "GREENLLM_WORK": str(self.work_file),
            }
        )

    def _sample(self) -> None:
        self.last = self.sampler.sample()
        self.writer.write(self.last)
        self.provisional.add(self.last)

    def _run_command(self, taken: set[signal.Signals], mask: set[int | signal.Signals]) -> Outcome:
        """Run the command, which gets the signal mask `mask`, and pass on the signals `taken`, which are blocked."""
        command = self.options.command
        try:
            pid = os.posix_spawnp(
                command[0],
                command,
                self._environment(),
                setsigmask=mask,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
            )
        except OSError as error:
            found = error.errno != errno.ENOENT
            reason = "cannot be executed" if found else "command not found"
            _warn(f"{command[0]}: {reason} ({error.strerror})", kind="error")
            self._sample()
            return Outcome("failed", NOT_EXECUTABLE if found else NOT_FOUND)
        _let_go_of_standard_streams()
        outcome = self._watch(pid, taken)
        self._sample()
        outcome.left_running = len(self.tree.processes())
        if outcome.left_running:
            _warn(f"{outcome.left_running} process(es) of the command are still running; they are no longer metered")
        return outcome

    def _watch(self, command_pid: int, taken: set[signal.Signals]) -> Outcome:
        """Sample, reap and pass signals on until the command ends."""
        sentinel = Sentinel()
        self.tree.ignored.add(sentinel.pid)
        ending = False
        poll_s = self.sampler.poll_s
        began_s = time.monotonic()
        next_sample_s = began_s + self.interval_s
        wait_status: int | None = None
        try:
            while wait_status is None:
                now = time.monotonic()
                if now >= next_sample_s:
                    self._sample()
                    # the next of the regular times: a meter that was held up does not sample in a burst
                    next_sample_s += self.interval_s * (1 + (now - next_sample_s) // self.interval_s)
                elif poll_s is not None:
                    self.sampler.poll()
                until_s = next_sample_s - time.monotonic()
                if poll_s is not None:
                    until_s = min(until_s, poll_s * nvml.phase_jitter())
                received = signal.sigtimedwait(taken, max(0.0, until_s))
                if received is not None and received.si_signo != signal.SIGCHLD:
                    ending = ending or received.si_signo in ENDING
                    sentinel = pass_on(received, sentinel, self.tree)
                wait_status = self._reap(command_pid)
        finally:
            sentinel.end()
        if os.WIFSIGNALED(wait_status):
            return Outcome("killed", 128 + os.WTERMSIG(wait_status))
        code = os.WEXITSTATUS(wait_status)
        return Outcome("succeeded" if code == 0 else "killed" if ending else "failed", code)

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
            if pid not in self.tree.ignored:
                self.tree.reaped(pid, usage)
            if pid == command_pid:
                found = wait_status

    def _end_record(self, outcome: Outcome) -> dict[str, Any]:
        ended_s, ended_wall_s = float(self.last[0] or 0.0), float(self.last[1] or 0.0)
        duration_s = ended_s - self.start["monotonic_s"]
        self.components: list[Component] = self.provisional.components(
            self.host, duration_s, self._inside(), self.sampler.troubles
        )
        return {
            "record": "end",
            "id": self.id,
            "status": outcome.status,
            "exit_code": outcome.exit_code,
            "ended": rfc3339(ended_wall_s),
            "wall_s": ended_wall_s,
            "monotonic_s": ended_s,
            "duration_s": round(duration_s, 6),
            "cpu_s": self.last[4],
            "left_running": outcome.left_running,
            "outputs": self._outputs(),
            "work": self._work(),
            "lost_records": self.writer.lost,
            "components": [component.to_json() for component in self.components],
        }

    def _inside(self) -> list[dict[str, Any]]:
        """Components of the meters that ran inside this one, whose ids begin with its own."""
        components: list[dict[str, Any]] = []
        with contextlib.suppress(OSError):
            for path in (self.folder / self.host).glob(f"{self.id}.*.jsonl"):
                with contextlib.suppress(OSError):
                    components += (read_ledger(path)[0].end or {}).get("components", [])
        return components

    def _work(self) -> dict[str, float]:
        """What the command says it has done."""
        try:
            content = self.work_file.read_bytes()
            self.work_file.unlink()
        except OSError:
            return {}
        try:
            work = json.loads(content)
            if not all(type(amount) in (int, float) for amount in work.values()):
                raise ValueError
        except (ValueError, AttributeError):
            _warn('$GREENLLM_WORK: expected a JSON object of numbers such as {"tokens": 1000}; left out')
            return {}
        return dict(work)

    def _write_log(self, path: Path, end: dict[str, Any]) -> None:
        parts = [c.energy for c in self.components if c.component in SUMMED and c.energy is not None]
        start = self.start
        log = {
            "schema": LOG_SCHEMA,
            **{name: start[name] for name in ("id", "parent", "run_id", "host", "boot_id", "job", "command")},
            **{name: start[name] for name in ("config_hash", "inputs", "started")},
            **{name: end[name] for name in ("outputs", "ended", "duration_s", "status", "exit_code")},
            "threads": start["threads"],
            "gpus": start["gpus"],
            "ledger": os.path.relpath(self.writer.path, path.absolute().parent),
            "energy_J": total(parts).to_json() if parts else None,
            "partial": any(c.energy is None for c in self.components) or bool(self.writer.lost),
            "provisional": True,
            "components": end["components"],
            "parameters": {name: p.to_json() for name, p in self.provisional.parameters.items()},
            "cpu_s": end["cpu_s"],
            "waited_s": start["waited_s"],
            "lost_records": self.writer.lost,
            "reason": f"ledger: {self.writer.trouble}" if self.writer.trouble else None,
            "work": end["work"],
        }
        try:
            write_json(path, log)
        except OSError as error:
            _warn(f"{path}: the energy log cannot be written ({error.strerror}); the ledger has it all")


def _interval_s() -> float:
    text = os.environ.get("GREENLLM_METER_INTERVAL_S") or "1.0"
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = 0.0
    if not 0.01 <= interval_s <= 3600:
        raise UserError(f"GREENLLM_METER_INTERVAL_S={text}: expected seconds between 0.01 and 3600")
    return interval_s


def _new_id() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.urandom(5).hex()}"


def _let_go_of_standard_streams() -> None:
    """Leave stdin and stdout to the command: pipes must break and end for it as they would without a meter."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1):
        with contextlib.suppress(OSError):
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _warn(message: str, kind: str = "warning") -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"greenllm meter: {kind}: {message}", file=sys.stderr, flush=True)
