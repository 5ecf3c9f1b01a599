"""Requests batched while they wait: whoever has come when the engine is free is answered together."""

import asyncio
import contextlib
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from greenllm.engines import Completion, Engine


class QueueFull(Exception):  # noqa: N818
    """More requests wait than the server lets wait."""


class EngineFailed(Exception):  # noqa: N818
    """The engine could not answer; why is in the server's log."""


@dataclass(eq=False)
class Ticket:
    """One request's place in the queue, and its answer as it comes."""

    prompt: str
    max_tokens: int
    streaming: bool
    confidence: bool
    loop: asyncio.AbstractEventLoop
    news: "asyncio.Queue[str | Completion | EngineFailed]" = field(default_factory=asyncio.Queue)
    cancelled: bool = False

    def tell(self, news: "str | Completion | EngineFailed") -> None:
        """Pass news on to the event loop; for the engine's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
            self.loop.call_soon_threadsafe(self.news.put_nowait, news)

    async def pieces(self) -> AsyncIterator[str | Completion]:
        """Yield the text as it comes (where streaming) and last the completion; may raise EngineFailed.

        Text that has come since the last look is one piece: a fast engine need not be slowed down by its telling.
        """
        while True:
            news = await self.news.get()
            text = ""
            while isinstance(news, str):
                text += news
                if self.news.empty():
                    break
                news = self.news.get_nowait()
            if text:
                yield text
            if isinstance(news, EngineFailed):
                raise news
            if isinstance(news, Completion):
                yield news
                return

    async def completion(self) -> Completion:
        """Return the answer when it is whole; may raise EngineFailed."""
        async for news in self.pieces():
            if isinstance(news, Completion):
                return news
        raise EngineFailed


class Batcher:
    """One engine in one thread, fed from a queue.

    A batch starts as soon as the engine is free and takes what waits then, up to `batch` requests: a lone
    request never waits for company.

    The event loop answers meanwhile; but ONNX Runtime GenAI holds Python's lock while it computes a token, so there
    it answers between two tokens.
    """

    def __init__(self, engine: Engine, *, batch: int, queue: int, on_batch: Callable[[int], None]) -> None:
        self._engine = engine
        self._batch = batch
        self._queue = queue
        self._on_batch = on_batch
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Return how many requests wait for the engine."""
        return len(self._waiting)

    def submit(self, prompt: str, max_tokens: int, *, streaming: bool, confidence: bool = False) -> Ticket:
        """Queue a request of the running event loop; raise QueueFull where too many wait already."""
        ticket = Ticket(prompt, max_tokens, streaming, confidence, asyncio.get_running_loop())
        with self._changed:
            if len(self._waiting) >= self._queue:
                raise QueueFull
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request that nobody waits for: out of the queue, or cut short where it has begun."""
        ticket.cancelled = True
        with self._changed, contextlib.suppress(ValueError):
            self._waiting.remove(ticket)

    def close(self) -> None:
        """Answer what has been queued, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._on_batch(len(batch))
            try:
                self._answer(batch)
            except Exception:  # whatever goes wrong, the other requests must still be answered
                traceback.print_exc()
                for ticket in batch:
                    ticket.tell(EngineFailed())

    def _next(self) -> list[Ticket]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _answer(self, batch: list[Ticket]) -> None:
        def on_token(index: int, piece: str) -> None:
            if batch[index].streaming:
                batch[index].tell(piece)

        completions = self._engine.generate(
            [ticket.prompt for ticket in batch],
            [ticket.max_tokens for ticket in batch],
            on_token if any(ticket.streaming for ticket in batch) else None,
            lambda index: batch[index].cancelled,
            confidence=any(ticket.confidence for ticket in batch),
        )
        for ticket, completion in zip(batch, completions, strict=True):
            ticket.tell(completion)
