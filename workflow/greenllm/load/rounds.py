"""Rounds of requests: sent to an endpoint and timed, and read when they are over."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from greenllm.meter.host import boot_id
from greenllm.model_folder.endpoint import Endpoint, error_of, text_of
from greenllm.serving.event_stream import data_of

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True)
class Order:
    """A round that is asked for."""

    requests: int
    """Least number of requests."""
    start: int = 0
    """The first request's prompt, by its number; they begin anew where there are no more."""
    least_s: float = 0.0
    """Least length: more requests are sent where it is shorter."""
    concurrency: int = 1
    """Requests under way at once, where there is no rate."""
    rate_per_s: float | None = None
    """Arrivals per second (Poisson), however many are under way."""


@dataclass
class Answered:
    """What came of one request. Times in seconds from its sending, or from its arrival with a given rate."""

    id: str
    text: str = ""
    tokens: int | None = None
    prompt_tokens: int | None = None
    finish_reason: str | None = None
    latency_s: float | None = None
    time_to_first_token_s: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Round:
    """A round that was sent: its window, from the first request to the last answer, and what came of each request."""

    window: dict[str, Any]
    answers: list[Answered] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """The window's length."""
        return float(self.window["monotonic_end_s"] - self.window["monotonic_start_s"])

    @property
    def answered(self) -> list[Answered]:
        """The requests that were answered."""
        return [answer for answer in self.answers if answer.error is None]

    def to_json(self) -> dict[str, Any]:
        """Return the round as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Round":
        """Read what `to_json` returned."""
        return cls(value["window"], [Answered(**answer) for answer in value["answers"]])


class Window:
    """A stretch of time, by the wall clock and by CLOCK_MONOTONIC, from when it is made until it is closed."""

    def __init__(self) -> None:
        self._started, self._start_s = datetime.now(UTC), time.monotonic()

    def close(self) -> dict[str, Any]:
        """Return the window up to now."""
        end_s, ended = time.monotonic(), datetime.now(UTC)
        return {
            "started": self._started.isoformat(),
            "ended": ended.isoformat(),
            "monotonic_start_s": self._start_s,
            "monotonic_end_s": end_s,
            "boot_id": boot_id(),
        }


class Sender:
    """Sends the prompts of `rows` (with `id`, `prompt` and perhaps `prompt_ids`) to one endpoint, round by round."""

    def __init__(
        self,
        session: "aiohttp.ClientSession",
        endpoint: Endpoint,
        rows: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int | None,
        seed: int,
    ) -> None:
        """`max_tokens` None leaves the longest answer to the server; `seed` is that of the arrival times."""
        self._session, self._endpoint, self._rows, self._max_tokens = session, endpoint, rows, max_tokens
        self._chance = random.Random(seed)

    async def round(self, order: Order, on_answer: Callable[[], object] = lambda: None) -> Round:
        """Send a round; raise ConnectionError (in a group) where nothing listens."""
        window = Window()
        send = self._at_concurrency if order.rate_per_s is None else self._at_rate
        received = await send(order, on_answer)
        closed = window.close()
        # Read only now: parsing must not take time from the server beside it.
        for answer, stream in received:
            if answer.error is None:
                _read(answer, stream)
        return Round(closed, [answer for answer, _ in received])

    def _of(self, order: Order) -> Iterator[Mapping[str, Any]]:
        """Yield the rows to send, until they are enough and the round is long enough."""
        end_s = time.perf_counter() + order.least_s
        for number in itertools.count():
            if number >= order.requests and time.perf_counter() >= end_s:
                return
            yield self._rows[(order.start + number) % len(self._rows)]

    async def _at_concurrency(self, order: Order, on_answer: Callable[[], object]) -> list[tuple[Answered, bytes]]:
        """Keep `concurrency` requests under way: the next is sent as soon as one is answered."""
        remaining = enumerate(self._of(order))
        received: dict[int, tuple[Answered, bytes]] = {}

        async def worker() -> None:
            for index, row in remaining:
                received[index] = await self._ask(row, time.perf_counter())
                on_answer()

        async with asyncio.TaskGroup() as group:
            for _ in range(order.concurrency):
                group.create_task(worker())
        return [received[index] for index in sorted(received)]

    async def _at_rate(self, order: Order, on_answer: Callable[[], object]) -> list[tuple[Answered, bytes]]:
        """Send requests at the times of a Poisson process, whether the server keeps up or not."""
        assert order.rate_per_s is not None
        arrival_s = time.perf_counter()

        async def ask(row: Mapping[str, Any], arrival_s: float) -> tuple[Answered, bytes]:
            received = await self._ask(row, arrival_s)
            on_answer()
            return received

        async with asyncio.TaskGroup() as group:
            tasks = []
            for row in self._of(order):
                arrival_s += self._chance.expovariate(order.rate_per_s)
                await asyncio.sleep(arrival_s - time.perf_counter())
                tasks.append(group.create_task(ask(row, arrival_s)))
        return [task.result() for task in tasks]

    async def _ask(self, row: Mapping[str, Any], began_s: float) -> tuple[Answered, bytes]:
        """Send one request as a stream, which alone shows when the first text comes; return it with what came."""
        import aiohttp

        answer = Answered(row["id"])
        received: list[bytes] = []
        endpoint = self._endpoint
        # The ids of a prompt in a chat template: its text would not give the template's special tokens.
        prompt = row["prompt"] if endpoint.chat else row.get("prompt_ids") or row["prompt"]
        body = endpoint.body(prompt, self._max_tokens, stream=True)
        try:
            async with self._session.post(endpoint.url + endpoint.path, json=body) as response:
                if response.status != 200:
                    answer.error = error_of(response.status, await response.read())
                    return answer, b""
                async for part in response.content.iter_any():
                    if not received:
                        answer.time_to_first_token_s = time.perf_counter() - began_s
                    received.append(part)
                answer.latency_s = time.perf_counter() - began_s
        except aiohttp.ClientConnectorError as error:
            raise ConnectionError(str(error)) from None  # nothing listens: the rest would only fail as fast as it can
        except (aiohttp.ClientError, TimeoutError) as error:
            answer.error = f"{type(error).__name__}: {error}".removesuffix(": ")
        return answer, b"".join(received)


def _read(answer: Answered, stream: bytes) -> None:
    """Read the server-sent events of a stream."""
    events = [data.strip() for data in data_of(stream)]
    try:
        for event in events:
            if event != "[DONE]":
                _take(answer, json.loads(event))
    except (ValueError, KeyError, TypeError, AttributeError):
        answer.error = "the stream is none of the OpenAI interface"
    if events[-1:] != ["[DONE]"] and answer.error is None:
        answer.error = "the stream ended before the answer did"


def _take(answer: Answered, event: dict[str, Any]) -> None:
    if "error" in event:
        answer.error = str(event["error"]["message"])
    for choice in event.get("choices", []):
        answer.text += text_of(choice)
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if usage := event.get("usage"):
        answer.tokens = usage["completion_tokens"]
        answer.prompt_tokens = usage["prompt_tokens"]
