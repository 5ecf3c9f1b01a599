"""deployments/…/measurement.json: a server under load, as `greenllm deploy` writes it."""

from typing import ClassVar

from greenllm.documents.document import Document, DocumentPart, Number


class MeasurementWindow(DocumentPart):
    """A stretch of CLOCK_MONOTONIC on the server's host, in s."""

    monotonic_start_s: float
    monotonic_end_s: float

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.monotonic_end_s - self.monotonic_start_s


class IdleTime(DocumentPart):
    """The time in which no request was sent."""

    window: MeasurementWindow
    duration_s: float


class MeasuredRound(DocumentPart):
    """One round of requests."""

    window: MeasurementWindow
    answered: int
    completion_tokens: int | None


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


class LoadPoint(MeasuredLoad):
    """The measurement at one concurrency, with its rounds."""

    rounds: list[MeasuredRound]


class AnswersAgreement(DocumentPart):
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
    serve_id: str | None
    energy_reason: str | None
    idle: IdleTime | None
    agreement: AnswersAgreement
    points: list[LoadPoint]
    model_bytes: int | None
    memory_bytes: int | None
    memory_reason: str | None
