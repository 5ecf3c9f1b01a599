"""Batching: the requests that wait when the engine becomes free are answered together."""

import asyncio
import contextlib
import sys
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from greenllm.engines import Completion, Engine, OnToken
from greenllm.errors import UserError
from greenllm.serving.energy_sampling import EnergySampling
from greenllm.serving.idle_unloading import IdleUnloading
from greenllm.serving.request_energy import RequestEnergy


class QueueFull(Exception):  # noqa: N818
    """As many requests wait as the server allows."""


class EngineFailed(Exception):  # noqa: N818
    """The engine could not answer. The reason is in the server's log."""


@dataclass(eq=False)
class QueuedRequest:
    """A request in the queue, and its answer as the engine generates it."""

    prompt: str
    max_tokens: int
    streaming: bool
    confidence: bool
    loop: asyncio.AbstractEventLoop
    received: "asyncio.Queue[str | Completion | EngineFailed]" = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    energy: RequestEnergy | None = None

    def deliver(self, update: "str | Completion | EngineFailed") -> None:
        """Pass new text, the completion or a failure to the event loop. Called by the engine's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(self.received.put_nowait, update)

    async def updates(self) -> AsyncIterator[str | Completion]:
        """Yield new text (if streaming), and last the completion; may raise EngineFailed.

        All text that is there is yielded as one piece, so that a slow client does not slow down a fast engine.
        """
        while True:
            update = await self.received.get()
            text = ""
            while isinstance(update, str):
                text += update
                if self.received.empty():
                    break
                update = self.received.get_nowait()
            if text:
                yield text
            if isinstance(update, EngineFailed):
                raise update
            if isinstance(update, Completion):
                yield update
                return

    async def completion(self) -> Completion:
        """Return the whole answer; may raise EngineFailed."""
        async for update in self.updates():
            if isinstance(update, Completion):
                return update
        raise EngineFailed


class Batcher:
    """One engine in one thread, fed from a queue.

    A batch starts as soon as the engine is free. It takes the requests that wait then, up to `batch` of them: a lone
    request never waits for others. An engine that is unloaded is loaded again first, while its requests wait.

    With `energy`, each request's energy is recorded before its answer is delivered.

    The event loop runs meanwhile. But ONNX Runtime GenAI holds Python's lock while it computes a token, so with that
    engine the loop runs between two tokens only.
    """

    def __init__(
        self,
        engine: Engine,
        unloading: IdleUnloading,
        *,
        batch: int,
        queue: int,
        on_batch: Callable[[int], None],
        energy: EnergySampling | None = None,
    ) -> None:
        self._engine = engine
        self._unloading = unloading
        self._batch = batch
        self._queue = queue
        self._on_batch = on_batch
        self._energy = energy
        self._waiting: deque[QueuedRequest] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Return the number of requests that wait for the engine."""
        return len(self._waiting)

    def submit(self, prompt: str, max_tokens: int, *, streaming: bool, confidence: bool = False) -> QueuedRequest:
        """Queue a request of the running event loop; raise QueueFull if as many wait as the queue holds."""
        request = QueuedRequest(prompt, max_tokens, streaming, confidence, asyncio.get_running_loop())
        with self._changed:
            if len(self._waiting) >= self._queue:
                raise QueueFull
            self._waiting.append(request)
            self._changed.notify()
        return request

    def cancel(self, request: QueuedRequest) -> None:
        """Drop a request that nobody waits for: remove it from the queue, or cut its answer short."""
        request.cancelled = True
        with self._changed, contextlib.suppress(ValueError):
            self._waiting.remove(request)

    def close(self) -> None:
        """Answer the requests in the queue, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            batch = self._next()
            if batch is None:
                self._unloading.unload()
                continue
            if not batch:
                return
            self._on_batch(len(batch))
            try:
                self._unloading.ensure_loaded()
                self._answer(batch)
            except Exception as error:  # whatever fails, the other requests must still be answered
                if isinstance(error, UserError):
                    print(f"greenllm serve: error: {error}", file=sys.stderr)
                else:
                    traceback.print_exc()
                for request in batch:
                    request.deliver(EngineFailed())

    def _next(self) -> list[QueuedRequest] | None:
        """Return the requests to answer next, none when the server stops; None where the engine is to be unloaded."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._closing, self._unloading.patience_s):
                return None
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _answer(self, batch: list[QueuedRequest]) -> None:
        def on_token(index: int, piece: str) -> None:
            if batch[index].streaming:
                batch[index].deliver(piece)

        for request, completion in zip(batch, self._completions(batch, on_token), strict=True):
            request.deliver(completion)

    def _completions(self, batch: list[QueuedRequest], on_token: OnToken) -> list[Completion]:
        completions: list[Completion] = []
        if self._energy is not None:
            self._energy.begin_batch()
        try:
            completions = self._engine.generate(
                [request.prompt for request in batch],
                [request.max_tokens for request in batch],
                on_token if any(request.streaming for request in batch) else None,
                lambda index: batch[index].cancelled,
                confidence=any(request.confidence for request in batch),
            )
        finally:
            if self._energy is not None:
                self._energy.end_batch(batch, completions)
        return completions
