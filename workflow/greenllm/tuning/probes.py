"""Probes of settings: short runs of a training or an engine under a meter, and the energy and time of each."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from greenllm.attribution.live import RunningJob, Turn
from greenllm.device_choice import DeviceChoice
from greenllm.errors import UserError
from greenllm.load.loaded_server import SAMPLING_s
from greenllm.load.ordered_process import OrderedProcess, running_ordered
from greenllm.load.processes import greenllm, metered
from greenllm.load.thread_probe import ProbedRound, ProbeOrder, probe_words
from greenllm.meter.signals import ask_for_sample
from greenllm.training.probing import ProbedSteps, TrainingOrder
from greenllm.tuning.search import Cost, ProbeFailedError
from greenllm.tuning.space import Setting

# The exit status of a command that the user called in a wrong way.
MISTAKEN = 2
GAP = "its energy is unknown in a part of its time"


@dataclass(frozen=True)
class ProbedWindow:
    """What a process did for a setting: its window (CLOCK_MONOTONIC, s), its units of work, and its GPUs.

    `time_s` is the time of one unit.
    """

    start_s: float
    end_s: float
    units: int
    time_s: float
    gpus: int


class Workload(Protocol):
    """What is probed: a training, or answering requests."""

    @property
    def unit(self) -> str:
        """One unit of its work: sample, request."""
        ...

    def words(self) -> list[str]:
        """Return the command line of the process that follows orders."""
        ...

    def probe(self, process: OrderedProcess, setting: Setting, meters: Sequence[int]) -> ProbedWindow:
        """Have the process run with a setting, with a sample of these meters at both ends; return its window."""
        ...


@dataclass(frozen=True)
class TrainingWorkload:
    """A training: J per sample. `settings` and `model` are JSON or YAML, as `greenllm train` reads them."""

    data: Path
    settings: str
    model: str
    parent: Path | None
    seed: int
    device: DeviceChoice
    least_s: float
    unit: str = "sample"

    def words(self) -> list[str]:
        """Return the command line of `greenllm probe-training`."""
        parent = [] if self.parent is None else ["--from", str(self.parent)]
        words = ["probe-training", "--data", str(self.data), "--settings", self.settings, "--model", self.model]
        return greenllm(*words, *parent, "--seed", str(self.seed), "--device", self.device)

    def probe(self, process: OrderedProcess, setting: Setting, meters: Sequence[int]) -> ProbedWindow:
        """Train a few steps."""
        order = TrainingOrder(setting.batch, setting.threads, setting.precision or "auto", self.least_s, list(meters))
        steps = ProbedSteps.from_json(process.reply(order))
        time_s = (steps.end_s - steps.start_s) / steps.samples
        return ProbedWindow(steps.start_s, steps.end_s, steps.samples, time_s, steps.gpus)


@dataclass(frozen=True)
class ServingWorkload:
    """An engine that answers `batch` requests together: J per request. The time of a request is its batch's."""

    bundle: Path
    predictions: Path
    max_tokens: int
    device: DeviceChoice
    least_s: float
    requests: int
    unit: str = "request"

    def words(self) -> list[str]:
        """Return the command line of `greenllm probe-threads`."""
        return greenllm(*probe_words(self.bundle, self.predictions, max_tokens=self.max_tokens, device=self.device))

    def probe(self, process: OrderedProcess, setting: Setting, meters: Sequence[int]) -> ProbedWindow:
        """Answer the same prompts, as many as fill whole batches, after one batch that does not count."""
        batch = setting.batch
        requests = batch * -(-self.requests // batch)
        process.reply(ProbeOrder(setting.threads, batch, together=batch))
        _sample(meters)
        round = ProbedRound.from_json(
            process.reply(ProbeOrder(setting.threads, requests, together=batch, least_s=self.least_s))
        )
        _sample(meters)
        window = round.window
        return ProbedWindow(
            window.monotonic_start_s, window.monotonic_end_s, round.answered, round.time_per_request_s, round.gpus
        )


def _sample(meters: Sequence[int]) -> None:
    for pid in meters:
        ask_for_sample(pid)
    time.sleep(SAMPLING_s)


@dataclass
class Prober:
    """Probes settings inside a metered job. One process runs as long as precision and power limit stay the same.

    `logs` is the folder of the processes' energy logs. `report` is called with a line for each probe.
    """

    workload: Workload
    around: RunningJob
    logs: Path
    report: Callable[[str], None]
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _process: OrderedProcess | None = None
    _kind: tuple[object, ...] = ()
    _attempt: str | None = None
    _started: int = 0
    _known: bool = False  # whether the energy of a probe was known

    def __enter__(self) -> "Prober":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def probe(self, setting: Setting) -> Cost:
        """Return what a unit of work costs with a setting.

        Raises ProbeFailedError where the process ends, UserError where the energy is unknown or the process ends by a
        mistake of the user, which every setting would share.
        """
        try:
            process = self._process_for(setting)
            meters = [process.process.pid, self.around.meter_pid]
            window = self.workload.probe(process, setting, meters)
        except UserError as error:
            mistaken = self._process is not None and self._process.process.poll() == MISTAKEN
            with contextlib.suppress(UserError):
                self._stop()
            if mistaken:
                raise
            self.report(f"{setting}: failed: {error}")
            raise ProbeFailedError(str(error)) from None
        if self._attempt is None:  # now its meter has begun its ledger
            self._attempt = self.around.inside(process.process.pid)
        turn = Turn(self._attempt, window.start_s, window.end_s, setting.threads, window.gpus)
        (energy,) = self.around.turns([turn])
        if energy is None or energy.value <= 0:
            if self._known:  # a gap in the readings
                self.report(f"{setting}: failed: {GAP}")
                raise ProbeFailedError(GAP)
            raise UserError("the energy of the probes is unknown; `greenllm probe` says what can be measured here")
        self._known = True
        bounds_J = (energy.low / window.units, energy.high / window.units)
        cost = Cost(energy.value / window.units, window.time_s, bounds_J)
        self.report(f"{setting}: {cost.energy_J:.4g} J and {cost.time_s:.3g} s per {self.workload.unit}")
        return cost

    def _process_for(self, setting: Setting) -> OrderedProcess:
        """Return the process for a setting, started if need be."""
        kind = (setting.precision, setting.power_limit_W)
        if self._process is None or self._kind != kind:
            self._stop()
            self._started += 1
            limit_W = setting.power_limit_W
            options = [] if limit_W is None else ["--gpus", str(held_gpus()), "--power-limit", f"{limit_W:g}"]
            meter = metered("tune", {"process": str(self._started)}, self.logs / f"{self._started}.json", *options)
            running = running_ordered([*meter, *self.workload.words()], "the process that is probed")
            self._process, self._kind = self._stack.enter_context(running), kind
        return self._process

    def _stop(self) -> None:
        self._process = self._attempt = None
        self._stack.close()


def held_gpus() -> int:
    """Return the number of GPUs that the meter has leased for this job."""
    return len([index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index])
