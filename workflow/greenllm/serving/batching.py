"""Batching: the requests that wait when the engine becomes free are answered together."""

import asyncio
import contextlib
import sys
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from greenllm.engines import Completion, Engine, Prompt, ScoresTokens
from greenllm.engines.decoding_choice import GREEDY, Decoding, ScoredPrompt, ScoredText
from greenllm.errors import UserError
from greenllm.serving.echo import after_prompt, with_prompt
from greenllm.serving.energy_sampling import EnergySampling
from greenllm.serving.idle_unloading import IdleUnloading
from greenllm.serving.request_energy import RequestEnergy


class QueueFull(Exception):  # noqa: N818
    """As many requests wait as the server allows."""


class EngineFailed(Exception):  # noqa: N818
    """The engine could not answer. The reason is in the server's log."""


@dataclass(frozen=True)
class Question:
    """What the engine is asked for: one answer to a prompt, of at most `max_tokens` tokens, or none (0)."""

    prompt: str
    max_tokens: int
    decoding: Decoding = GREEDY
    confidence: bool = False
    echo: bool = False
    """Whether the answer begins with the prompt."""


Update = str | Completion | EngineFailed


@dataclass(eq=False)
class QueuedRequest:
    """One question in the queue; its answer is delivered as the engine generates it."""

    index: int
    question: Question
    answers: "Answers"
    echoed: ScoredPrompt | None = None
    cancelled: bool = False
    energy: RequestEnergy | None = None

    def deliver(self, update: Update) -> None:
        """Pass new text, the completion or a failure to the event loop. Called by the engine's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self.answers.loop.call_soon_threadsafe(self.answers.received.put_nowait, (self.index, update))


class Answers:
    """The answers to the questions of one client's request, which may be decoded in several batches."""

    def __init__(self, questions: Sequence[Question], *, streaming: bool) -> None:
        self.streaming = streaming
        self.loop = asyncio.get_running_loop()
        self.received: asyncio.Queue[tuple[int, Update]] = asyncio.Queue()
        self.requests = [QueuedRequest(index, question, self) for index, question in enumerate(questions)]

    async def updates(self) -> AsyncIterator[tuple[int, str | Completion]]:
        """Yield new text of each answer (if streaming) and last its completion, with its index; may raise EngineFailed.

        All text of an answer that is there is yielded as one piece, so that a slow client does not slow down a fast
        engine.
        """
        left = len(self.requests)
        while left:
            updates = [await self.received.get()]
            while not self.received.empty():
                updates.append(self.received.get_nowait())
            pieces: dict[int, list[str]] = {}
            for index, update in updates:
                if isinstance(update, str):
                    pieces.setdefault(index, []).append(update)
            for index, some in pieces.items():
                yield index, _joined(some)
            for index, update in updates:
                if isinstance(update, EngineFailed):
                    raise update
                if isinstance(update, Completion):
                    left -= 1
                    yield index, update

    async def completions(self) -> list[Completion]:
        """Return the whole answers, in the order of the questions; may raise EngineFailed."""
        found = {index: update async for index, update in self.updates() if isinstance(update, Completion)}
        return [found[request.index] for request in self.requests]


def _joined(pieces: Sequence[str]) -> str:
    text = "".join(pieces)
    tokens = [token for piece in pieces if isinstance(piece, ScoredText) for token in piece.tokens]
    return ScoredText(text, tokens) if tokens else text


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

    def submit(self, questions: Sequence[Question], *, streaming: bool) -> Answers:
        """Queue all questions of one request; raise QueueFull if the queue has no room for them."""
        answers = Answers(questions, streaming=streaming)
        with self._changed:
            if len(self._waiting) + len(questions) > self._queue:
                raise QueueFull
            self._waiting += answers.requests
            self._changed.notify()
        return answers

    def cancel(self, answers: Answers) -> None:
        """Drop answers that nobody waits for: remove them from the queue, or cut them short."""
        with self._changed:
            for request in answers.requests:
                request.cancelled = True
                with contextlib.suppress(ValueError):
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
        completions: list[Completion] = []
        if self._energy is not None:
            self._energy.begin_batch()
        try:
            completions = self._completions(batch)
        finally:
            if self._energy is not None:
                self._energy.end_batch(batch, completions)
        for request, completion in zip(batch, completions, strict=True):
            request.deliver(completion if request.echoed is None else with_prompt(request.echoed, completion))

    def _completions(self, batch: list[QueuedRequest]) -> list[Completion]:
        """Return the answers in the order of the batch; one for which no token is asked has only its prompt."""
        for request in batch:
            if request.question.echo:
                request.echoed = self._echo(request.question)
                if request.answers.streaming:
                    request.deliver(ScoredText(request.echoed.text, request.echoed.tokens))
        generated = iter(self._generated([request for request in batch if request.question.max_tokens]))
        return [next(generated) if one.question.max_tokens else self._empty(one.question) for one in batch]

    def _empty(self, question: Question) -> Completion:
        scored = None if question.decoding.alternatives is None else ()
        return Completion("", 0, self._engine.count_tokens(question.prompt), "length", scored=scored)

    def _generated(self, batch: list[QueuedRequest]) -> list[Completion]:
        if not batch:
            return []

        def on_token(index: int, piece: str) -> None:
            request = batch[index]
            if request.answers.streaming:
                request.deliver(piece if request.echoed is None else after_prompt(request.echoed, piece))

        questions = [request.question for request in batch]
        return self._engine.generate(
            [question.prompt for question in questions],
            [question.max_tokens for question in questions],
            on_token if any(request.answers.streaming for request in batch) else None,
            lambda index: batch[index].cancelled,
            confidence=any(question.confidence for question in questions),
            decodings=[question.decoding for question in questions],
        )

    def _echo(self, question: Question) -> ScoredPrompt:
        alternatives = question.decoding.alternatives
        if alternatives is None and not isinstance(question.prompt, Prompt):
            return ScoredPrompt(question.prompt, ())
        assert isinstance(self._engine, ScoresTokens)
        (scored,) = self._engine.score_tokens([question.prompt], alternatives or 0)
        return scored if alternatives is not None else ScoredPrompt(scored.text, ())
