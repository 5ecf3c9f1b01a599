"""The server's work: requests checked, queued for the engine, and answered whole, as a stream, or by a script."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse

from greenllm.engines import Completion, Engine, PromptError
from greenllm.serving import protocol
from greenllm.serving.batching import Batcher, EngineFailed, QueuedRequest, QueueFull
from greenllm.serving.energy_sampling import KEPT_S, EnergySampling
from greenllm.serving.event_stream import MEDIA_TYPE, event
from greenllm.serving.idle_unloading import IdleUnloading
from greenllm.serving.limits import Limits, answer_limit
from greenllm.serving.metrics import Metrics
from greenllm.serving.refusals import CLIENT_GONE, ENGINE_FAILED, Refused
from greenllm.serving.scripted_replies import Replies

NOT_STORED = {"Cache-Control": "no-cache"}


@dataclass
class Served:
    """The work that a server has done: the R of its E = C/R."""

    requests: int = 0
    tokens: int = 0
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Exchange:
    """One request that waits for its answer."""

    request: protocol.Request
    body: protocol.ResponseBody
    queued: QueuedRequest
    began_s: float
    energy: EnergySampling | None

    def last_events(self, completion: Completion, more: dict[str, Any]) -> bytes:
        """Return the end of a stream: the reason why the answer ended, the token counts if requested, and [DONE]."""
        last = [event(self.body.chunk("", completion.finish_reason) | more)]
        if self.request.stream_options and self.request.stream_options.include_usage:
            last.append(event(self.with_energy(self.body.usage_chunk(completion))))
        return b"".join([*last, b"data: [DONE]\n\n"])

    def with_energy(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return an answer, or a chunk of one, with the energy beside its token counts, where the server counts it."""
        if self.energy is not None and self.queued.energy is not None:
            content["usage"]["energy"] = self.energy.described(self.queued.energy)
        return content


class Service:
    """Answers requests by one engine, under one model name, and counts the work in `served`.

    With `replies`, a chat is answered by the reply to the intent that the model names. With `unload_after_s`, the model
    of `folder` is unloaded after that time without requests. With `energy_threads`, it counts the energy of its
    answers, as a job that reserved so many processors. Raises UserError if the engine can't do so.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        limits: Limits,
        served: Served,
        replies: Replies | None,
        folder: Path,
        unload_after_s: float | None,
        energy_threads: int | None = None,
    ) -> None:
        self.metrics = Metrics(lambda: self._batcher.waiting())
        self._unloading = IdleUnloading(engine, folder, unload_after_s, self.metrics)
        self._engine, self._name, self._limits, self._served, self._replies = engine, name, limits, served, replies
        self._energy = (
            None if energy_threads is None else EnergySampling(energy_threads, engine.gpus, self.metrics.of_energy())
        )
        self._batcher = Batcher(
            engine,
            self._unloading,
            batch=limits.batch,
            queue=limits.queue,
            on_batch=self.metrics.batch.observe,
            energy=self._energy,
        )

    async def close(self) -> None:
        """Answer the requests in the queue, then stop the engine's thread."""
        await asyncio.to_thread(self._batcher.close)
        if self._energy is not None:
            await asyncio.to_thread(self._energy.close)

    def check_model(self, asked: str | None) -> None:
        """Raise `Refused` if a request is for another model."""
        if asked not in (None, self._name):
            message = f"no model {asked!r} here; this server has {self._name!r}"
            raise Refused(404, message, param="model", code="model_not_found")

    def model(self) -> dict[str, Any]:
        """Return the model as OpenAI's interface describes it."""
        return {"id": self._name, "object": "model", "created": 0, "owned_by": "greenllm"}

    def health(self) -> dict[str, Any]:
        """Return the server's state, its model, whether that is in memory, its engine, and the GPUs that it uses."""
        engine = self._engine
        described = {"engine": engine.name, "precision": engine.precision, "gpus": engine.gpus}
        return {"status": "ok", "model": self._name, "loaded": self._unloading.loaded, **described}

    def energy(self, answer: str) -> dict[str, Any]:
        """Return the energy of an answer, by its id; raise `Refused` where it is unknown."""
        if self._energy is None:
            raise Refused(404, "this server does not count energy; start it with --energy", code="energy_off")
        if (found := self._energy.of(answer)) is None:
            message = f"no energy of an answer {answer!r} here; it is kept for {KEPT_S / 60:g} minutes"
            raise Refused(404, message, code="answer_not_found")
        return {"id": answer, "object": "energy", **found}

    async def complete(self, http: HttpRequest, request: protocol.CompletionRequest) -> Response:
        """Answer a plain prompt."""
        self.check_model(request.model)
        assert isinstance(request.prompt, str)
        body = protocol.ResponseBody("text_completion", self._name)
        exchange = self.submit(request, body, request.prompt, request.max_tokens)
        return self.streamed(exchange) if request.stream else await self.whole(http, exchange)

    async def chat(self, http: HttpRequest, request: protocol.ChatRequest) -> Response:
        """Answer the messages of a chat."""
        self.check_model(request.model)
        try:
            prompt = self._engine.chat_prompt([message.plain() for message in request.messages])
        except PromptError as error:
            raise Refused(422, str(error), param="messages") from None
        body = protocol.ResponseBody("chat.completion", self._name)
        if self._replies is not None:
            # The client's limit is meant for the reply; it must not cut the intent that the model names.
            exchange = self.submit(request, body, prompt, None, scripted=True)
            return await self.scripted(http, exchange, self._replies)
        exchange = self.submit(request, body, prompt, request.max_completion_tokens or request.max_tokens)
        return self.streamed(exchange) if request.stream else await self.whole(http, exchange)

    def submit(
        self,
        request: protocol.Request,
        body: protocol.ResponseBody,
        prompt: str,
        asked: int | None,
        *,
        scripted: bool = False,
    ) -> Exchange:
        """Queue a prompt, for at most `asked` tokens; raise `Refused` if a limit is exceeded or the queue is full."""
        began_s = time.perf_counter()
        max_tokens = answer_limit(self._engine, prompt, asked, self._limits)
        streaming = request.stream and not scripted
        try:
            queued = self._batcher.submit(prompt, max_tokens, streaming=streaming, confidence=scripted)
        except QueueFull:
            raise Refused(429, "the queue is full; try again later", code="queue_full") from None
        return Exchange(request, body, queued, began_s, self._energy)

    async def whole(self, http: HttpRequest, exchange: Exchange) -> Response:
        """Answer in one piece."""
        completion = await self._completion(http, exchange)
        if completion is None:
            return Response(status_code=CLIENT_GONE)
        return JSONResponse(exchange.with_energy(exchange.body.whole(completion)))

    async def scripted(self, http: HttpRequest, exchange: Exchange, replies: Replies) -> Response:
        """Answer by a scripted reply. It depends on the model's complete answer, so a stream has it in one piece."""
        completion = await self._completion(http, exchange)
        if completion is None:
            return Response(status_code=CLIENT_GONE)
        reply = replies.to(completion)
        shown = dataclasses.replace(completion, text=reply.text, finish_reason="stop")
        reason = {"greenllm": reply.described()}  # beside OpenAI's own fields
        if not exchange.request.stream:
            return JSONResponse(exchange.with_energy(exchange.body.whole(shown)) | reason)
        self.metrics.first_token_s.observe(time.perf_counter() - exchange.began_s)
        content = event(exchange.body.chunk(shown.text)) + exchange.last_events(shown, reason)
        return Response(content, media_type=MEDIA_TYPE, headers=NOT_STORED)

    def streamed(self, exchange: Exchange) -> Response:
        """Answer as a stream of server-sent events, each with the text that is new."""
        return StreamingResponse(self._events(exchange), media_type=MEDIA_TYPE, headers=NOT_STORED)

    async def _events(self, exchange: Exchange) -> AsyncIterator[bytes]:
        first, finished = True, False
        try:
            async for update in exchange.queued.updates():
                if first:
                    self.metrics.first_token_s.observe(time.perf_counter() - exchange.began_s)
                    first = False
                if isinstance(update, str):
                    yield event(exchange.body.chunk(update))
                    continue
                finished = True
                self._count(update, exchange)
                yield exchange.last_events(update, {})
        except EngineFailed:
            finished = True
            yield event(ENGINE_FAILED)
        finally:
            if not finished:
                self._drop(exchange)

    async def _completion(self, http: HttpRequest, exchange: Exchange) -> Completion | None:
        """Return the model's answer, or None as soon as the client disconnects."""
        answer = asyncio.ensure_future(exchange.queued.completion())
        gone = asyncio.ensure_future(_disconnected(http))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                self._count(answer.result(), exchange)
                return answer.result()
            self._drop(exchange)
            return None
        finally:
            answer.cancel()
            gone.cancel()

    def _count(self, completion: Completion, exchange: Exchange) -> None:
        self._served.requests += 1
        self._served.tokens += completion.tokens
        self._served.prompt_tokens += completion.prompt_tokens
        self.metrics.completion_tokens.inc(completion.tokens)
        self.metrics.prompt_tokens.inc(completion.prompt_tokens)
        self.metrics.latency_s.observe(time.perf_counter() - exchange.began_s)
        if self._energy is not None and exchange.queued.energy is not None:
            self._energy.keep(exchange.body.id, exchange.queued.energy)

    def _drop(self, exchange: Exchange) -> None:
        self._batcher.cancel(exchange.queued)
        self.metrics.dropped.inc()


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
