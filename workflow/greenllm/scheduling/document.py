"""plan.json, what `greenllm plan` writes and the meter reads; schedule.json, what it saved afterwards."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from greenllm.device_choice import CPU
from greenllm.documents.document import DocumentPart, validated
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.files import read_json
from greenllm.timestamps import read_time

PLAN_SCHEMA: Literal["greenllm/plan/1"] = "greenllm/plan/1"
POWER = "power_W"  # the resource
SCHEDULE_SCHEMA: Literal["greenllm/schedule/1"] = "greenllm/schedule/1"


def _is_time(text: str) -> str:
    read_time(text)
    return text


Time = Annotated[str, AfterValidator(_is_time)]  # RFC 3339


class TimeSpan(DocumentPart):
    """A time in which a job runs (RFC 3339, UTC). All but a job's last one end with a pause at a checkpoint."""

    start: Time
    end: Time


class DeviceOption(DocumentPart):
    """What a job is expected to take on a device."""

    device: str
    duration_s: Interval
    energy_J: Interval
    source: str


class JobPlan(DocumentPart):
    """A job, when it is to run, and what that is expected to save (costs in the plan's unit).

    `device` is where it is to run: `cpu` or a GPU's model; None: where it would run anyway. `devices` are those to
    choose from, and `stays` says why others are not among them. `…_at_once` are those without a policy.
    """

    name: str
    rule: str
    wildcards: dict[str, str]
    after: list[str]
    threads: int
    gpus: int
    runs: list[TimeSpan]
    at_once: TimeSpan  # when it would run without a policy
    duration_s: Interval
    energy_J: Interval
    source: str  # of run time and energy
    device: str | None = None
    device_at_once: str | None = None
    duration_at_once_s: Interval | None = None  # None: as planned, as in plans without devices
    energy_at_once_J: Interval | None = None
    devices: list[DeviceOption] = Field(default_factory=list)
    stays: str | None = None
    pieces: int
    cost: float
    cost_at_once: float

    @property
    def moved(self) -> bool:
        """Whether it is to run on another device than without a plan."""
        return self.device != self.device_at_once

    @property
    def uses(self) -> dict[str, float]:
        """What it uses of each resource while it runs, but for power."""
        gpus = 0.0 if self.device == CPU else float(self.gpus)
        uses = {"cores": float(self.threads), "gpus": gpus}
        return uses if self.device is None else uses | {of_model(self.device): gpus}


class SignalSource(DocumentPart):
    """A file of the signal."""

    path: str
    sha256: str
    unit: str


class SharedLimits(DocumentPart):
    """What jobs that run at once share; None is unlimited. `models` are the GPUs of each model, where one is chosen."""

    cores: float | None = None
    gpus: float | None = None
    power_W: float | None = None
    models: dict[str, int] = Field(default_factory=dict)

    def resources(self) -> dict[str, float]:
        """Return the limit of each resource by name, as activities use them."""
        shared = {"cores": self.cores, "gpus": self.gpus, POWER: self.power_W}
        known = {name: limit for name, limit in shared.items() if limit is not None}
        return known | {of_model(name): float(number) for name, number in self.models.items()}


def of_model(model: str) -> str:
    """Return the name of the resource of a GPU's model."""
    return f"gpus {model}"


class SchedulePlan(DocumentPart):
    """A plan: when to start what. Times are RFC 3339 in UTC; costs are in `unit`: gCO2e, J, or a currency."""

    schema_: Literal["greenllm/plan/1"] = Field(PLAN_SCHEMA, alias="schema")
    made: Time
    objective: str
    unit: str
    signal: list[SignalSource]
    begin: Time
    deadline: Time
    limits: SharedLimits
    cautious: bool  # whether there is room for the upper bounds of run times
    starts_at_once: bool = False  # whether no schedule was found that costs less than the starts at once
    jobs: list[JobPlan]
    cost: float
    cost_at_once: float
    saving: Interval
    signal_bounds: bool  # whether the interval contains the uncertainty of the signal
    gap: float  # how much cheaper another schedule might at most be (share of the cost of the one that was found)

    @property
    def starts(self) -> dict[str, float]:
        """When each job is to start (Unix time, s), by its name."""
        return {job.name: datetime.fromisoformat(job.runs[0].start).timestamp() for job in self.jobs}

    @classmethod
    def read(cls, path: Path, remedy: str = "run `greenllm plan` first") -> "SchedulePlan":
        """Read a plan.json. Raises UserError if it is missing (with `remedy`) or is not one."""
        found = read_json(path, remedy)
        if found.get("schema") != PLAN_SCHEMA:
            raise UserError(
                f"{path}: schema {found.get('schema')!r}, expected {PLAN_SCHEMA!r}; run `greenllm plan` again, "
                "or remove the file"
            )
        return validated(cls, found, path, "run `greenllm plan` again, or remove the file")


class ScheduledJob(DocumentPart):
    """A planned job that ran: its energy (J), and its costs when it ran and if it had started at once."""

    name: str
    planned: str
    runs: list[TimeSpan]
    at_once: TimeSpan
    delay_s: float  # of its first start, behind the plan
    energy_J: Interval
    cost: Interval
    cost_at_once: Interval
    device: str | None = None  # where it ran; None: on several, or none was chosen
    device_at_once: str | None = None  # where it would have run without the plan
    device_saving: Interval | None = None  # None: it ran where it would have run anyway


class ScheduleOutcome(DocumentPart):
    """What a plan saved: the ledgers' energies times the signal, compared with the same jobs started at once.

    The intervals are those of the energies, whose shared errors cancel in the saving; the signal has none. The best
    saving and the regret are of the best estimates.

    `device_saving` comes on top: jobs that ran on another device are compared with what they take on the other one by
    earlier runs, at once. It is no measurement of these jobs; None where no job was moved.
    """

    schema_: Literal["greenllm/schedule/1"] = Field(SCHEDULE_SCHEMA, alias="schema")
    objective: str
    unit: str
    signal: list[SignalSource]
    recorded: bool  # whether the signal is as it turned out; otherwise it is the forecast
    deadline: str
    ended: str
    late_s: float
    jobs: list[ScheduledJob]
    not_run: list[str]
    unknown: list[str] = Field(default_factory=list)  # ran, and their energy, or a part of it, is unknown: not in costs
    cost: Interval
    cost_at_once: Interval
    saving: Interval
    expected_saving: Interval
    device_saving: Interval | None = None
    best_saving: float  # with perfect knowledge of signal, run times and energies
    regret: float

    @classmethod
    def read(cls, path: Path) -> "ScheduleOutcome":
        """Read a schedule.json. Raises UserError if it is not one."""
        return validated(cls, read_json(path, "run `greenllm account` again"), path, "run `greenllm account` again")
