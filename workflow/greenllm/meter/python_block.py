"""Meters a block of Python code: this very process, with its threads and its descendants."""

import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from greenllm.device_choice import DeviceChoice
from greenllm.errors import UserError
from greenllm.estimate import Estimate
from greenllm.ledger.energy_log import summed
from greenllm.ledger.records import Status
from greenllm.meter.cgroups import tree_of
from greenllm.meter.options import Options, absolute
from greenllm.meter.recording import Outcome, Recording
from greenllm.meter.sensors.nvml import Gpu

# The meters that run in this process, innermost last: the environment names the last one.
_running: list["Meter"] = []
_changing = threading.Lock()


def _renew_lock() -> None:
    """In a fork there is no other thread that would release the lock."""
    global _changing
    _changing = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class Meter:
    """Measures the energy of the block that it is entered for, as `greenllm meter` does that of a command::

        with Meter(rule="train", wildcards={"seed": "1"}, threads=2, out="energy.json") as meter:
            train()
            meter.work(tokens=1_000_000)
        print(meter.energy.value)  # J

    An exception in the block is passed on; the attempt then has failed (KeyboardInterrupt: was killed). Inside another
    meter it is a part of that one, and leases nothing. A fork of the process that leaves the block records nothing.
    The environment stays as it is, except for the variables by which meters inside this one find it: a program that
    uses the leased `gpus` selects them itself.
    """

    def __init__(
        self,
        *,
        rule: str | None = None,
        wildcards: Mapping[str, object] | None = None,
        attempt: int = 1,
        threads: int | None = None,
        memory_MB: int | None = None,
        exclusive: bool = False,
        gpus: int | None = None,
        device: DeviceChoice = "auto",
        ledger: str | os.PathLike[str] | None = None,
        out: str | os.PathLike[str] | None = None,
        interval_s: float | None = None,
        wait_s: float | None = None,
        config: str | None = None,
        inputs: Iterable[str | os.PathLike[str]] | None = None,
        outputs: Iterable[str | os.PathLike[str]] | None = None,
        cgroups: Iterable[str | os.PathLike[str]] = (),
        power_limit_W: float | None = None,
    ) -> None:
        """The options are those of `greenllm meter` (see its --help); `interval_s` and `wait_s` are in seconds.

        Raises UserError where one of them cannot be.
        """
        self._options = Options(
            command=list(sys.orig_argv),
            gpus=gpus,
            threads=threads,
            memory_MB=memory_MB,
            exclusive=exclusive,
            device=device,
            rule=rule,
            wildcards={name: str(value) for name, value in (wildcards or {}).items()},
            attempt=attempt,
            out=None if out is None else absolute(out),
            ledger=None if ledger is None else absolute(ledger),
            wait_s=wait_s,
            config=config,
            inputs=None if inputs is None else _names("inputs", inputs),
            outputs=None if outputs is None else _names("outputs", outputs),
            cgroups=_names("cgroups", cgroups),
            power_limit_W=power_limit_W,
        )
        self._interval_s = interval_s
        self._work: dict[str, float] = {}
        self._energy: Estimate | None = None

    @property
    def id(self) -> str:
        """The attempt's id, which is its ledger's name."""
        return self._recording.id

    @property
    def gpus(self) -> list[Gpu]:
        """The GPUs that the block has, by index in the order of the PCI bus and UUID."""
        return self._recording.slots.gpus

    @property
    def energy(self) -> Estimate | None:
        """The block's energy (J) after its end: provisional, and None where no part of it could be read."""
        return self._energy

    def work(self, **amounts: float) -> None:
        """Add to the work done: `meter.work(tokens=2048, samples=8)`. Raises ValueError where one is not finite."""
        for unit, amount in amounts.items():
            number = amount if type(amount) is int else float(amount)
            if not math.isfinite(number):
                raise ValueError(f"work({unit}={amount}): expected a finite number")
            self._work[unit] = self._work.get(unit, 0) + number

    def __enter__(self) -> Self:
        """Wait for the lease and begin. Raises UserError where the lease cannot be had or the interval is bad."""
        if hasattr(self, "_recording"):
            raise RuntimeError("a Meter measures one block: make a new one for the next")
        with _changing:
            self._recording = Recording(self._options, self._interval_s)
            self._pid = os.getpid()
            try:
                self._tree = tree_of(self._options.cgroups, with_own=True)
                self._recording.begin(self._tree)
                self._ended = threading.Event()
                self._thread = threading.Thread(target=self._watch, name="greenllm-meter", daemon=True)
                self._thread.start()
            except BaseException:
                self._recording.abandon()
                raise
            self._around = {name: os.environ.get(name) for name in self._recording.environment}
            os.environ.update(self._recording.environment)
            _running.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the ledger, write the energy log and give the lease back."""
        if os.getpid() != self._pid:
            return
        try:
            self._restore_environment()
            self._ended.set()
            self._thread.join()
            status, exit_code = _ending(error)
            self._recording.end(Outcome(status, exit_code, len(self._tree.processes()), self._work))
            self._energy = summed(self._recording.components)
        finally:
            self._recording.slots.release()

    def _watch(self) -> None:
        # Signals are the main thread's; one that is blocked there must not find its way in here.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._ended.wait(self._recording.watch()):
            pass

    def _restore_environment(self) -> None:
        with _changing:
            place = _running.index(self)
            del _running[place]
            if place < len(_running):  # one that began inside this one, in another thread, still runs
                _running[place]._around = self._around
                return
            for name, value in self._around.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _names(option: str, paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    if isinstance(paths, str | os.PathLike):
        raise UserError(f"{option}={os.fspath(paths)!r}: expected several paths, as in {option}=[{os.fspath(paths)!r}]")
    return [os.fspath(path) for path in paths]


def _ending(error: BaseException | None) -> tuple[Status, int]:
    """Return status and exit code, as those of an interpreter that exits by this exception."""
    if isinstance(error, KeyboardInterrupt):
        return "killed", 128 + signal.SIGINT
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code & 0xFF if isinstance(error.code, int) else 1
        return "succeeded" if code == 0 else "failed", code
    return ("succeeded", 0) if error is None else ("failed", 1)
