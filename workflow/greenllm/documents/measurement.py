"""deployments/…/measurement.json: a server under load, as `greenllm deploy` writes it."""

from dataclasses import dataclass
from typing import ClassVar

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


class IdleTime(WrittenPart):
    """The time in which no request was sent."""

    window: MeasurementWindow
    duration_s: float
    energy_J: Interval | None = None
    power_W: Interval | None = None


class MeasuredRound(WrittenPart):
    """One round of requests."""

    window: MeasurementWindow
    answered: int
    failed: int = 0
    completion_tokens: int | None
    prompt_tokens: int | None = None
    energy_J: Interval | None = None


class Percentiles(DocumentPart):
    """Percentiles of a time, in s; None where there was none."""

    p50: Number | None
    p95: Number | None
    p99: Number | None


class _Mean(DocumentPart):
    mean: Number | None


class Latency(Percentiles, _Mean):
    """The time from sending a request to its last byte, in s."""


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
    stopped: str


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


class LoadMeasurement(Document):
    """The measurement of one deployment; `serve_id` is the id of the server's attempt, None for a server elsewhere."""

    stage: ClassVar[str] = "deploy"
    schema_name: ClassVar[str] = "greenllm/deployment/2"

    engine: str
    precision: str | None
    batch: int | None = None
    threads: int | None = None
    serve_id: str | None
    load_id: str | None = None
    energy_reason: str | None
    idle: IdleTime | None
    agreement: AgreementCounts
    points: list[LoadPoint]
    model_bytes: int | None
    memory_bytes: int | None
    memory_reason: str | None
