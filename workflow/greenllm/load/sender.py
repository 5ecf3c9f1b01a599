"""Sends rounds of requests to an endpoint, and times the answers."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp

from greenllm.load.prompts import PromptRow
from greenllm.load.rounds import Answered, Order, Round, Stopwatch
from greenllm.model_folder.endpoint import Endpoint, error_of, text_of
from greenllm.serving.event_stream import data_of


class Part(NamedTuple):
    """A part of a stream, and when it arrived (s since the request)."""

    at_s: float
    content: bytes


Received = tuple[Answered, list[Part]]


class Sender:
    """Sends prompts to one endpoint, round by round."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        rows: Sequence[PromptRow],
        *,
        max_tokens: int | None,
        seed: int,
    ) -> None:
        """`max_tokens` None leaves the limit of an answer to the server; `seed` is that of the arrival times."""
        self.endpoint = endpoint
        self._session, self._rows, self._max_tokens = session, rows, max_tokens
        self._random = random.Random(seed)

    async def round(self, order: Order, on_answer: Callable[[], object] = lambda: None) -> Round:
        """Send a round; raise ConnectionError (in a group) if nothing listens at the address."""
        stopwatch = Stopwatch()
        send = self._at_concurrency if order.rate_per_s is None else self._at_rate
        received = await send(order, on_answer)
        window = stopwatch.stop()
        # Parsed only now, because it would take processor time from the server on this host.
        for answer, parts in received:
            if answer.error is None:
                _read(answer, parts)
        return Round(window, [answer for answer, _ in received])

    def _rows_of(self, order: Order) -> Iterator[PromptRow]:
        """Yield the rows to send: whole passes, until the round is long enough.

        So a fast server and a slow one answer the same prompts.
        """
        end_s = time.perf_counter() + order.least_s
        for number in itertools.count() if order.requests else ():
            if number and number % order.requests == 0 and time.perf_counter() >= end_s:
                return
            yield self._rows[(order.start + number % order.requests) % len(self._rows)]

    async def _at_concurrency(self, order: Order, on_answer: Callable[[], object]) -> list[Received]:
        """Keep `concurrency` requests running: the next is sent as soon as one is answered."""
        remaining = enumerate(self._rows_of(order))
        received: dict[int, Received] = {}

        async def worker() -> None:
            for index, row in remaining:
                received[index] = await self._ask(row, time.perf_counter())
                on_answer()

        async with asyncio.TaskGroup() as group:
            for _ in range(order.concurrency):
                group.create_task(worker())
        return [received[index] for index in sorted(received)]

    async def _at_rate(self, order: Order, on_answer: Callable[[], object]) -> list[Received]:
        """Send requests at the times of a Poisson process, whether the server keeps up or not."""
        assert order.rate_per_s is not None
        arrival_s = time.perf_counter()

        async def ask(row: PromptRow, arrival_s: float) -> Received:
            received = await self._ask(row, arrival_s)
            on_answer()
            return received

        async with asyncio.TaskGroup() as group:
            tasks = []
            for row in self._rows_of(order):
                arrival_s += self._random.expovariate(order.rate_per_s)
                await asyncio.sleep(arrival_s - time.perf_counter())
                tasks.append(group.create_task(ask(row, arrival_s)))
        return [task.result() for task in tasks]

    async def _ask(self, row: PromptRow, began_s: float) -> Received:
        """Send one request as a stream, which shows when the first text arrives; return the outcome and the stream."""
        answer = Answered(row.id)
        received: list[Part] = []
        endpoint = self.endpoint
        # The ids of a prompt in a chat template: its text would not contain the template's special tokens.
        prompt = row.prompt if endpoint.chat else row.prompt_ids or row.prompt
        body = endpoint.body(prompt, self._max_tokens, stream=True, **row.sampling)
        try:
            async with self._session.post(endpoint.url + endpoint.path, json=body) as response:
                if response.status != 200:
                    answer.error = error_of(response.status, await response.read())
                    return answer, []
                async for content in response.content.iter_any():
                    received.append(Part(time.perf_counter() - began_s, content))
                answer.latency_s = time.perf_counter() - began_s
        except aiohttp.ClientConnectorError as error:
            raise ConnectionError(str(error)) from None  # nothing listens: all other requests would fail at once, too
        except (aiohttp.ClientError, TimeoutError) as error:
            answer.error = f"{type(error).__name__}: {error}".removesuffix(": ")
        return answer, received


def _read(answer: Answered, parts: Sequence[Part]) -> None:
    """Read the server-sent events of a stream into its answer."""
    events = [data.strip() for data in data_of(b"".join(part.content for part in parts))]
    try:
        for event in events:
            if event != "[DONE]":
                _add(answer, json.loads(event))
    except (ValueError, KeyError, TypeError, AttributeError):
        answer.error = "not a valid OpenAI stream"
    # `transformers serve` sends no [DONE]; its last event has the reason for which the answer ended.
    if events[-1:] != ["[DONE]"] and answer.finish_reason is None and answer.error is None:
        answer.error = "the stream ended before the answer did"
    if answer.error is None:
        answer.time_to_first_token_s = _first_text_s(parts)


def _first_text_s(parts: Sequence[Part]) -> float | None:
    """Return when the first text had arrived, or the end of an answer without text.

    Many servers send an event without text first, as soon as they have read the request.
    """
    stream = b""
    for part in parts:
        stream += part.content
        for data in data_of(stream):
            try:
                event = json.loads(data)
            except ValueError:  # [DONE], or an event whose end has not arrived
                continue
            if any(text_of(choice) for choice in event.get("choices", [])):
                return part.at_s
    return parts[-1].at_s if parts else None


def _add(answer: Answered, event: Mapping[str, Any]) -> None:
    if "error" in event:
        answer.error = str(event["error"]["message"])
    for choice in event.get("choices", []):
        answer.text += text_of(choice)
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if usage := event.get("usage"):
        answer.tokens = usage["completion_tokens"]
        answer.prompt_tokens = usage["prompt_tokens"]
        answer.cached_prompt_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
