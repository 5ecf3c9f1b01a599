"""The records of a ledger: the meter writes them, attribution reads them (format: docs/reference/ledger.md).

The standard library only, since the meter starts with every job. Attribution validates what it reads by these types
(greenllm.attribution.records). A default is what an older ledger without the field means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, NamedTuple

from greenllm.device_choice import CPU
from greenllm.estimate import Parameter
from greenllm.field_types import Exact, Flag, NotNegative, Number, Positive, Text, Whole, Word
from greenllm.ledger.file import SCHEMA

# Unix time; RFC 3339 cannot write times after the year 9999.
WallClock = Annotated[float, Exact(allow_inf_nan=False, ge=0, lt=253402300800)]

# "paused": at a checkpoint, as planned; a later attempt goes on from there.
Status = Literal["succeeded", "failed", "killed", "paused"]

# What follows the job's rule in the rule of its part on a further host, which has a meter of its own there.
PART = "-node"

# Ledgers without `silent_s` come from meters that allowed a power from outside this silence (s), by method.
EARLIER_SILENT_S = {"watts-file": 120.0, "watts-command": 120.0}


@dataclass(frozen=True)
class Term:
    """Energy in joules: parameter · factor · growth of a basis.

    `of` "counter": the sensor's own counter, or its gauge's power over time, in joules; "time": seconds; "busy": CPU
    seconds that the host's processors were busy.
    """

    parameter: Text
    of: Literal["counter", "time", "busy"]
    factor: Number = 1.0


@dataclass(frozen=True)
class Counter:
    """A counter's scale, and how its readings are to be interpreted.

    `unit_J`: joules of one count. `wrap`: it starts again at zero after this many counts. `shared`: all meters of the
    host read the same counter; otherwise each meter integrates from its own zero. `ticks`: it is renewed at intervals,
    at instants that attribution finds. `max_W`: the most that it can count, which distinguishes a wrap-around from a
    reset, and one wrap-around from two.

    `still_s`: the device draws power whenever it is on, so a working counter moves at least this often. One that does
    not move for longer does not count; nor does one that never moved while jobs used `still_cpu_s` CPU seconds.
    `silent_s`: it integrates a power; if that power was not read for longer, the energy is unknown. `stamp_s`: readings
    are stamped after they were made, so a reading's time may be off by this much.
    """

    unit_J: Positive
    wrap: Positive | None = None
    shared: Flag = True
    ticks: Flag = False
    max_W: Positive | None = None
    still_s: Positive | None = None
    still_cpu_s: NotNegative = 0.1
    silent_s: Positive | None = None
    stamp_s: NotNegative = 0.05


@dataclass(frozen=True)
class Gauge:
    """A power that a card shows and renews at intervals, and how its readings are to be interpreted.

    `unit_W`: watts of one count. `mean_s`: it is the mean of this time before the reading (0: the mean of a window at
    the end of a refresh period). `refresh_s`: the usual refresh period. `window_part`: the window's part of a period;
    where a card averages more of it, the interval is too wide. `unread_s`: the power is unknown if it was not read for
    longer.

    Defaults: refresh period and window of an A100 and an H100 (arXiv 2312.02741).
    """

    unit_W: Positive
    mean_s: NotNegative = 0.0
    refresh_s: Positive = 0.1
    window_part: Annotated[float, Exact(gt=0, le=1)] = 0.25
    unread_s: Positive = 3.0


class Identity(NamedTuple):
    """The names by which the sensors of a host are distinguished."""

    component: str
    device: str
    method: str


@dataclass
class SensorRecord:
    """One device as one method reads it. Without terms it cannot be read; `reason` then says why.

    `limit_W`: the highest power limit that the card may be set to; None where it does not say, as in earlier ledgers.
    """

    component: Literal["gpu", "cpu", "dram", "platform"]
    device: Word
    method: Word
    quality: Literal["measured", "modelled"]
    terms: list[Term] = field(default_factory=list)
    counter: Counter | None = None
    gauge: Gauge | None = None
    reason: Text | None = None
    limit_W: Positive | None = None

    def __post_init__(self) -> None:
        if self.counter is not None and self.counter.silent_s is None and self.method in EARLIER_SILENT_S:
            self.counter = replace(self.counter, silent_s=EARLIER_SILENT_S[self.method])

    @property
    def identity(self) -> Identity:
        """Component, device and method."""
        return Identity(self.component, self.device, self.method)

    @property
    def counts(self) -> bool:
        """Whether it has a counter or a gauge; otherwise a model computes its energy."""
        return self.counter is not None or self.gauge is not None

    def uses(self, basis: Literal["counter", "time", "busy"]) -> bool:
        """Whether one of its terms has this basis."""
        return any(term.of == basis for term in self.terms)


@dataclass
class JobRecord:
    """The workflow's name for a job: rule and wildcards; `attempt` counts from 1."""

    rule: Text | None = None
    wildcards: dict[str, Text | Whole | Number | Flag | None] = field(default_factory=dict)
    attempt: Whole | None = None


@dataclass
class LeasedGpu:
    """A GPU that a job holds. `index`: its place in the order of the PCI bus; `name`: its model, as NVML names it."""

    uuid: Word
    index: Whole | None = None
    name: Text | None = None


def device_of(gpus: Sequence[LeasedGpu]) -> str | None:
    """Return the device of a job: `cpu`, or the model of its GPUs; None where they are of several, or unknown."""
    models = {gpu.name for gpu in gpus}
    return CPU if not models else models.pop() if len(models) == 1 else None


@dataclass
class PowerLimit:
    """The power limit of a job's GPU in watts: before the job, as it asked for, and in effect while it ran."""

    gpu: Word
    before_W: Positive
    asked_W: Positive
    in_effect_W: Positive


@dataclass(kw_only=True)
class StartRecord:
    """A ledger's first line: what was started, where, with what; and what the samples mean."""

    record: Literal["start"] = "start"
    schema: Text = SCHEMA
    id: Word
    parent: Text | None = None
    run_id: Text | None = None
    host: Word
    boot_id: Word
    cpus: Annotated[int, Exact(gt=0, lt=2**31)]
    memory_B: Positive | None = None
    pid: Whole | None = None
    job: JobRecord
    command: list[Text] | None = None
    cwd: Text | None = None
    ledger: Text | None = None
    config_hash: Text | None = None
    inputs: dict[str, Any] | None = None
    started: Text | None = None
    wall_s: WallClock | None = None
    monotonic_s: Number | None = None
    waited_s: Number = 0.0
    planned_s: WallClock | None = None
    planned_device: Text | None = None
    held_s: Number = 0.0
    interval_s: Positive
    threads: Whole | None = None
    reserved_cpus: NotNegative | None = None
    reserved_memory_B: NotNegative | None = None
    exclusive: Flag = False
    cgroups: list[Text] = field(default_factory=list)
    gpus: list[LeasedGpu] = field(default_factory=list)
    gpus_requested: Whole = 0
    power_limits: list[PowerLimit] = field(default_factory=list)
    columns: list[Text]
    sensors: list[SensorRecord]
    parameters: dict[str, Parameter]


@dataclass(kw_only=True)
class EndRecord:
    """A ledger's last line: how the job ended. `components` are provisional (Component.to_json).

    `power_limits_after_W`: the power limit (W) that each GPU whose limit the job had set has after it.
    """

    record: Literal["end"] = "end"
    id: Text | None = None
    status: Status
    exit_code: Whole | None = None
    ended: Text | None = None
    wall_s: WallClock | None = None
    monotonic_s: Number | None = None
    duration_s: Number | None = None
    cpu_s: Number | None = None
    left_running: Whole = 0
    outputs: dict[str, Any] | None = None
    work: dict[str, Any] = field(default_factory=dict)
    lost_records: Whole = 0
    power_limits_after_W: dict[str, Positive] = field(default_factory=dict)
    components: list[dict[str, Any]] = field(default_factory=list)
