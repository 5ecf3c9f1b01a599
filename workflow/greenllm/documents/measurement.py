"""measurements/…/seed-N.json: an experiment's servers under load, side by side, as `greenllm measure` writes it."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from greenllm.documents.document import Document, DocumentPart, Number, WrittenPart
from greenllm.estimate import Interval


@dataclass(frozen=True)
class MeasurementWindow:
    """A period by the wall clock (RFC 3339, UTC), and by CLOCK_MONOTONIC on the server's host, in s."""

    started: str
    ended: str
    monotonic_start_s: float
    monotonic_end_s: float
    boot_id: str

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.monotonic_end_s - self.monotonic_start_s

    @property
    def wall_s(self) -> float:
        """Its length by the wall clock."""
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()


class IdleTime(WrittenPart):
    """The time in which no request was sent."""

    window: MeasurementWindow
    duration_s: float
    energy_J: Interval | None = None
    power_W: Interval | None = None


class MeasuredRound(WrittenPart):
    """One round of requests; `serve_id` is the id of the attempt that served it, None for a server elsewhere.

    `cached_prompt_tokens` are those of the `prompt_tokens` that the server did not compute anew; None: it reports none.

    Servers are started several times, and sent rounds after each `start`. Where all are loaded at once, the rounds of a
    `block` were sent one after the other, one to each server; otherwise those of one start have the same block.
    """

    window: MeasurementWindow
    start: int
    block: int
    serve_id: str | None
    answered: int
    failed: int = 0
    completion_tokens: int | None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    energy_J: Interval | None = None


class Percentiles(DocumentPart):
    """Percentiles of a time, in s; None where there was none."""

    p50: Number | None
    p95: Number | None
    p99: Number | None


class _Mean(DocumentPart):
    mean: Number | None


class Latency(Percentiles, _Mean):
    """The time from sending a request (with a rate, from its arrival) to its last byte, in s."""


class Throughput(DocumentPart):
    """What a server answered per second."""

    requests_per_s: Number | None
    tokens_per_s: Number | None


class MeasuredLoad(DocumentPart):
    """The measurement at one concurrency (None where requests arrive at a set rate)."""

    requests: int
    answered: int
    failed: int
    concurrency: int | None
    rate_per_s: Number | None
    latency_s: Latency
    time_to_first_token_s: Percentiles
    throughput: Throughput
    prompt_tokens: int | None
    completion_tokens: int | None


class LoadPoint(MeasuredLoad, WrittenPart):
    """The measurement at one concurrency, with its rounds, and the energies as they were when it was written."""

    rounds: list[MeasuredRound]
    energy_J: Interval | None = None
    energy_per_request_J: Interval | None = None
    energy_per_token_J: Interval | None = None


class AgreementCounts(DocumentPart):
    """How many of a served model's answers are those that it gave when it was evaluated."""

    equal: int
    compared: int
    share: Number | None


class ProbedThreads(DocumentPart):
    """What a request takes with one number of threads."""

    threads: int
    rounds: int
    energy_per_request_J: Interval | None
    cpu_s_per_request: Number
    time_per_request_s: Number


class ThreadChoice(DocumentPart):
    """The number of threads of a server, why it was chosen, and what was probed."""

    threads: int
    reason: str
    probed: list[ProbedThreads] = Field(default_factory=list)


class ServerMeasurement(WrittenPart):
    """The measurement of one server.

    `name` is that of the recipe, or the twin's: the baseline's second server. `failure`: why it has no measurement, or
    only a part of one. `gpus`: how many of the job's GPUs the server computed on; 0 also where the job holds a GPU that
    this server could not use.
    """

    name: str
    recipe: str
    engine: str
    precision: str | None
    threads: ThreadChoice
    gpus: int = 0
    batch: int | None = None
    metered: bool
    energy_reason: str | None
    idle: IdleTime | None
    agreement: AgreementCounts | None
    points: list[LoadPoint]
    model_bytes: int | None
    memory_bytes: int | None
    memory_reason: str | None
    failure: str | None = None


class PlannedStarts(DocumentPart):
    """How often the servers were started, and how many rounds each had after a start, at each concurrency.

    A round lasted `round_s` at least. `first`: how many starts determined their number; as many as `starts`, if that
    was fixed before.
    """

    first: int
    starts: int
    rounds: int
    round_s: Number
    reason: str


class SideBySide(Document):
    """The servers of one experiment and seed, measured side by side.

    `measure_id` is the id of the attempt around all servers, which holds the processors and GPUs that they use in turn.
    `orders`: the servers' names in the order of each block, for each of the `concurrencies` (None: requests arrived at
    a rate); where one server was loaded at a time, in the order in which they were started.
    """

    stage: ClassVar[str] = "measure"
    schema_name: ClassVar[str] = "greenllm/measurement/2"

    measure_id: str
    seed: int
    loaded: Literal["all", "one"]
    loaded_reason: str
    reserved_threads: int
    twin: str | None
    planned: PlannedStarts
    concurrencies: list[int | None]
    orders: list[list[list[str]]]
    servers: list[ServerMeasurement]

    def server(self, name: str) -> ServerMeasurement | None:
        """Return the measurement of one server, by its name; None if there is none of that name."""
        return next((server for server in self.servers if server.name == name), None)
