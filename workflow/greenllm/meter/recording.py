"""Records one attempt: its slots, its ledger from the first sample to the end record, and its energy log."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.ledger.energy_log import Component, write_energy_log
from greenllm.ledger.file import BUSY, HOST_COLUMNS, LedgerWriter, read_ledger
from greenllm.ledger.records import EndRecord, JobRecord, LeasedGpu, StartRecord, Status
from greenllm.meter.console import warn
from greenllm.meter.discovery import find_sensors
from greenllm.meter.fingerprints import fingerprints
from greenllm.meter.host import boot_id, host_name, processor_count
from greenllm.meter.leases import holder_record
from greenllm.meter.options import Options, absolute
from greenllm.meter.other_hosts import components_elsewhere
from greenllm.meter.pace import Pace
from greenllm.meter.power_limits import PowerLimits, restore_limits_of_killed_jobs
from greenllm.meter.process_tree import ProcessTree
from greenllm.meter.provisional import Provisional
from greenllm.meter.sampler import Row, Sampler
from greenllm.meter.sensors import nvml
from greenllm.meter.slots import take_slots
from greenllm.paths import printable
from greenllm.timestamps import rfc3339

DEFAULT_LEDGER = Path("results/ledger")
BUSY_COLUMN = HOST_COLUMNS.index(BUSY)


@dataclass(frozen=True)
class Outcome:
    """How the job ended. `exit_code` is that of a shell; `work` has the amounts that the job reported, by unit."""

    status: Status
    exit_code: int
    left_running: int = 0
    work: Mapping[str, float] = field(default_factory=dict)


class Recording:
    """The record of one attempt. After construction call `begin`, then `watch` repeatedly, then `end`."""

    def __init__(
        self, options: Options, interval_s: float | None = None, planned_s: float | None = None, held_s: float = 0.0
    ) -> None:
        """Find the sensors and take the slots, waiting for them without limit (or for the options' `wait_s`).

        `interval_s` is the time between samples in seconds (default: $GREENLLM_METER_INTERVAL_S, else 1). The job was
        planned to start at `planned_s` (Unix time), and the meter has waited `held_s` for that.
        Raises UserError where a lease cannot be had or the interval is bad.
        """
        self.options = options
        self._planned_s, self._held_s = planned_s, held_s
        self._pace = Pace(interval_s)
        around = os.environ.get("GREENLLM_METER_ID") or None
        self._parent = options.part_of or around
        self.id = f"{self._parent}.{os.urandom(3).hex()}" if self._parent else _new_id()
        self._run_id = printable(os.environ.get("GREENLLM_RUN_ID") or self.id)
        self._folder = options.ledger or absolute(os.environ.get("GREENLLM_LEDGER") or DEFAULT_LEDGER)
        # before the lease and the first sample, so that the job does not pay for it
        self._inputs = None if options.inputs is None else fingerprints(_by_name(options.inputs))
        self._outputs = None if options.outputs is None else _by_name(options.outputs)
        self.components: list[Component] = []
        self._closing = contextlib.ExitStack()
        gpus, self._sensors = find_sensors()
        for sensor in self._sensors:
            if sensor.close is not None:
                self._closing.callback(sensor.close)
        try:
            self.slots = take_slots(options, gpus, self.id, os.environ, nested=around is not None)
        except BaseException:
            self._closing.close()
            raise
        restore_limits_of_killed_jobs(gpus)  # now, since such a job may have held the lease before this one
        self._power_limits = PowerLimits()
        self._closing.callback(self._power_limits.restore)
        self._sensors += [nvml.instance(gpu.uuid) for gpu in self.slots.gpus if gpu.index < 0]
        self._pace.suit(self._sensors)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a meter inside this one finds it."""
        return {
            "GREENLLM_METER_ID": self.id,
            "GREENLLM_LEDGER": str(self._folder),
            "GREENLLM_RUN_ID": self._run_id,
        }

    def begin(self, tree: ProcessTree) -> None:
        """Set the power limit, take the first sample of the job, whose processes are the tree's, and begin its ledger.

        If a signal ends this process before `end`, the next meter restores the limit. Raises UserError where it cannot
        be set.
        """
        if (limit_W := self.options.power_limit_W) is not None and self.options.gpus:
            holder = holder_record(self.id, printable(self.options.rule or self.options.command[0]))
            self._power_limits.set(self.slots.gpus, limit_W, holder)
        self._host, self._cpus = host_name(), processor_count()
        leased = [gpu.uuid for gpu in self.slots.gpus]
        self._sampler = Sampler(self._sensors, leased, tree)
        self._ledger = LedgerWriter(self._folder / self._host / f"{self.id}.jsonl")
        self._closing.callback(self._ledger.close)
        self._provisional = Provisional(
            self._sensors,
            self._sampler.columns,
            leased,
            self._cpus,
            self.slots.reserved_cpus,
            self.id,
            bool(self.options.gpus),
            self._sampler.host_memory_B,
            self.options.memory_B,
        )
        # A job on a card whose counter ticks begins with a tick: then the counter's value is not late.
        self._sampler.begin_edge(renewals=1)
        before = self._sampler.watch_edge()
        *before, self._last = [*before, *self._sampler.sample()]
        self._busy_was_read = self._last[BUSY_COLUMN] is not None
        self._start = self._start_record()
        self._ledger.write(asdict(self._start))
        for row in (*before, self._last):
            self._ledger.write(row)
        self._provisional.add(self._last)
        if self._ledger.trouble:
            _warn(f"the ledger cannot be written ({self._ledger.trouble}); the job runs, its energy will be missing")
        self._pace.begin()
        self._sampler.begin_edge()

    def watch(self) -> float:
        """Take a sample if one is due; return the seconds until the next call."""
        self._ledger.sync_once()
        if self._pace.is_due():
            self._pace.advance()
            self.sample()
        elif self._sampler.poll_s is not None:
            self._take_in(self._sampler.poll())
        return self._pace.wait_s(self._sampler.poll_s)

    def end(self, outcome: Outcome) -> None:
        """Take the last sample, end the ledger and write the energy log; the lease ends with the job's last process.

        Never raises, since the job is done: a failure is reported, and its part is missing in the end record.
        """
        with _carrying_on("the last sample could not be taken"):
            self.sample()
            if self._last[BUSY_COLUMN] is None and self._busy_was_read:
                _warn(f"the last sample could not be taken whole ({self._sampler.troubles[BUSY]})")
            self._sampler.begin_edge(ended=True)
            for row in self._sampler.watch_edge():
                self._ledger.write(row)
        inside = self._inside()
        end = self._end_record(outcome, inside, self._power_limits.restore())
        self._ledger.write(asdict(end), sync=True)
        for gpu, memory in self._sampler.memory.items():
            if memory.used is False and self._parent is None:
                _warn(f"{gpu} was leased, but never used: its energy was wasted; lease it only where it is used")
        if self._ledger.lost:
            _warn(f"{self._ledger.lost} ledger record(s) could not be written ({self._ledger.trouble})")
        if (path := self.options.out) is not None and outcome.status != "paused":  # the log is of the last attempt
            with _carrying_on(f"{path}: the energy log cannot be written, but the ledger has it all"):
                elsewhere = components_elsewhere(inside, self._start)
                write_energy_log(
                    path, self._start, end, [*self.components, *elsewhere], self._provisional.parameters, self._ledger
                )
        with _carrying_on("a sensor could not be closed"):
            self._closing.close()

    def abandon(self) -> None:
        """Release everything that the recording holds: its job does not begin."""
        self.close()
        self.slots.release()

    def close(self) -> None:
        """Restore the power limits, close sensors and ledger; the lease stays with the job's processes."""
        self._closing.close()

    def sample(self) -> None:
        """Take a sample now; the regular samples go on."""
        rows = self._sampler.sample()
        self._last = rows[-1]
        self._take_in(rows)

    def _take_in(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._ledger.write(row)
            self._provisional.add(row)

    def _start_record(self) -> StartRecord:
        options, slots, sensors = self.options, self.slots, self._sensors
        monotonic_s, wall_s = float(self._last[0] or 0.0), float(self._last[1] or 0.0)
        command = [printable(word) for word in options.command]
        return StartRecord(
            id=self.id,
            parent=self._parent,
            run_id=self._run_id,
            host=self._host,
            boot_id=boot_id(),
            cpus=self._cpus,
            memory_B=self._sampler.host_memory_B,
            pid=os.getpid(),
            job=JobRecord(
                rule=None if options.rule is None else printable(options.rule),
                wildcards={printable(name): printable(value) for name, value in options.wildcards.items()},
                attempt=options.attempt,
            ),
            command=command,
            cwd=_here(),
            ledger=printable(str(self._folder)),
            config_hash=self._config_hash(command),
            inputs=self._inputs,
            started=rfc3339(wall_s),
            wall_s=wall_s,
            monotonic_s=monotonic_s,
            waited_s=round(slots.waited_s, 3),
            planned_s=self._planned_s,
            planned_device=options.planned_device,
            held_s=round(self._held_s, 3),
            interval_s=self._pace.interval_s,
            threads=slots.threads,
            reserved_cpus=slots.reserved_cpus,
            reserved_memory_B=self.options.memory_B,
            exclusive=options.exclusive,
            cgroups=[printable(group) for group in options.cgroups],
            gpus=[LeasedGpu(gpu.uuid, gpu.index, gpu.name) for gpu in slots.gpus],
            gpus_requested=options.gpus or 0,
            power_limits=self._power_limits.limits,
            columns=self._sampler.columns,
            sensors=[sensor.record for sensor in sensors],
            parameters={name: parameter for s in sensors for name, parameter in s.parameters.items()},
        )

    def _config_hash(self, command: list[str]) -> str:
        config = self.options.config
        text = "\0".join(command) if config is None else config
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def _end_record(
        self, outcome: Outcome, inside: Sequence[Path], power_limits_after_W: dict[str, float]
    ) -> EndRecord:
        ended_s, ended_wall_s = float(self._last[0] or 0.0), float(self._last[1] or 0.0)
        duration_s = ended_s - (self._start.monotonic_s or 0.0)
        with _carrying_on("the provisional energy could not be computed"):
            found = self._provisional.components(
                self._host, duration_s, self._components_of(inside), self._sampler.troubles, self._sampler.tick_s
            )
            memory = self._sampler.memory
            self.components = [replace(c, used=memory[c.device].used) if c.device in memory else c for c in found]
        return EndRecord(
            id=self.id,
            status=outcome.status,
            exit_code=outcome.exit_code,
            ended=rfc3339(ended_wall_s),
            wall_s=ended_wall_s,
            monotonic_s=ended_s,
            duration_s=round(duration_s, 6),
            cpu_s=self._last[4],
            left_running=outcome.left_running,
            outputs=self._written(),
            work=dict(outcome.work),
            lost_records=self._ledger.lost,
            power_limits_after_W=power_limits_after_W,
            components=[component.to_json() for component in self.components],
        )

    def _written(self) -> dict[str, Any] | None:
        """Fingerprints of the job's outputs; not of its energy log, a declared output that is written later."""
        if self._outputs is None:
            return None
        return fingerprints({name: path for name, path in self._outputs.items() if path != self.options.out})

    def _inside(self) -> list[Path]:
        """Ledgers of the meters that ran inside this one, on any host; their ids begin with its own."""
        with contextlib.suppress(OSError):
            return list(self._folder.glob(f"*/{self.id}.*.jsonl"))
        return []

    def _components_of(self, inside: Iterable[Path]) -> list[dict[str, Any]]:
        """Components of those of the meters that ran on this host."""
        components: list[dict[str, Any]] = []
        for path in inside:
            with contextlib.suppress(OSError):
                ledger, _ = read_ledger(path)
                if ledger.start is not None and ledger.start["boot_id"] == self._start.boot_id:
                    components += (ledger.end or {}).get("components", [])
        return components


def _by_name(paths: Iterable[str]) -> dict[str, Path]:
    return {path: absolute(path) for path in paths}


def _here() -> str | None:
    try:
        return printable(os.getcwd())  # noqa: PTH109 - as pathlib, but a str
    except OSError:  # it was removed
        return None


def _new_id() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.urandom(5).hex()}"


@contextlib.contextmanager
def _carrying_on(trouble: str) -> Iterator[None]:
    """Report an error instead of raising it: the job is done, and the rest can still be recorded."""
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else getattr(error, "strerror", None) or repr(error)
        _warn(f"{trouble} ({reason})")


def _warn(message: str) -> None:
    warn(f"warning: {message}")
