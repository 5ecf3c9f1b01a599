"""Rounds of requests: how many are ordered, and what was sent and answered."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from greenllm.documents.measurement import MeasurementWindow
from greenllm.meter.host import boot_id


@dataclass(frozen=True)
class Order:
    """An order to send a round."""

    requests: int
    """Number of prompts, each sent once."""
    start: int = 0
    """Index of the first prompt; after the last prompt the first follows."""
    least_s: float = 0.0
    """Least duration: the same prompts are sent again, all of them, until it is reached."""
    concurrency: int = 1
    """Concurrent requests, if there is no rate."""
    rate_per_s: float | None = None
    """Arrivals per second (Poisson), whether the earlier requests are answered or not."""


@dataclass
class Answered:
    """The outcome of one request. Times in seconds since it was sent or, with a rate, since its arrival."""

    id: str
    text: str = ""
    tokens: int | None = None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    finish_reason: str | None = None
    latency_s: float | None = None
    time_to_first_token_s: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Round:
    """A round that was sent: its window, from the first request to the last answer, and each request's outcome."""

    window: MeasurementWindow
    answers: list[Answered] = field(default_factory=list)

    @property
    def answered(self) -> list[Answered]:
        """The requests that were answered."""
        return [answer for answer in self.answers if answer.error is None]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Round":
        """Return the round in a JSON object, made by `dataclasses.asdict`."""
        return cls(MeasurementWindow(**value["window"]), [Answered(**answer) for answer in value["answers"]])


class Stopwatch:
    """Measures a window, by the wall clock and by CLOCK_MONOTONIC, from its creation to `stop`."""

    def __init__(self) -> None:
        self._started, self._start_s = datetime.now(UTC), time.monotonic()

    def stop(self) -> MeasurementWindow:
        """Return the window up to now."""
        end_s, ended = time.monotonic(), datetime.now(UTC)
        return MeasurementWindow(self._started.isoformat(), ended.isoformat(), self._start_s, end_s, boot_id())

    def after(self, seconds: float) -> MeasurementWindow:
        """Wait, then return the window up to now."""
        time.sleep(seconds)
        return self.stop()
