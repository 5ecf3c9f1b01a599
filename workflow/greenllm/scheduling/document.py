"""plan.json, what `greenllm plan` writes and the meter reads; schedule.json, what it saved afterwards."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from greenllm.documents.document import DocumentPart, validated
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.files import read_json

PLAN_SCHEMA: Literal["greenllm/plan/1"] = "greenllm/plan/1"
SCHEDULE_SCHEMA: Literal["greenllm/schedule/1"] = "greenllm/schedule/1"


class Stretch(DocumentPart):
    """A time in which a job runs (RFC 3339, UTC). All but a job's last one end with a pause at a checkpoint."""

    start: str
    end: str


class JobPlan(DocumentPart):
    """A job, when it is to run, and what that is expected to save (costs in the plan's unit)."""

    name: str
    rule: str
    wildcards: dict[str, str]
    after: list[str]
    threads: int
    gpus: int
    runs: list[Stretch]
    at_once: Stretch  # when it would run without a policy
    duration_s: Interval
    energy_J: Interval
    source: str  # of run time and energy
    pieces: int
    cost: float
    cost_at_once: float


class SignalSource(DocumentPart):
    """A file of the signal."""

    path: str
    sha256: str
    unit: str


class Limits(DocumentPart):
    """What jobs that run at once share; None is unlimited."""

    cores: float | None = None
    gpus: float | None = None
    power_W: float | None = None


class SchedulePlan(DocumentPart):
    """A plan: when to start what. Times are RFC 3339 in UTC; costs are in `unit`: gCO2e, or a currency."""

    schema_: Literal["greenllm/plan/1"] = Field(PLAN_SCHEMA, alias="schema")
    made: str
    objective: str
    unit: str
    signal: list[SignalSource]
    begin: str
    deadline: str
    limits: Limits
    cautious: bool  # whether run times are planned at their upper bounds
    jobs: list[JobPlan]
    cost: float
    cost_at_once: float
    saving: Interval
    signal_bounds: bool  # whether the interval contains the uncertainty of the signal
    gap: float  # how much cheaper a schedule might at most be, where the solver knows (share of the cost at once)

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
    runs: list[Stretch]
    at_once: Stretch
    delay_s: float  # of its first start, behind the plan
    energy_J: float
    cost: float
    cost_at_once: float


class ScheduleOutcome(DocumentPart):
    """What a plan saved: the ledgers' energies times the signal, compared with the same jobs started at once."""

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
    cost: float
    cost_at_once: float
    saving: float
    expected_saving: Interval
    best_saving: float  # with perfect knowledge of signal, run times and energies
    regret: float

    @classmethod
    def read(cls, path: Path) -> "ScheduleOutcome":
        """Read a schedule.json. Raises UserError if it is not one."""
        return validated(cls, read_json(path, "run `greenllm account` again"), path, "run `greenllm account` again")
