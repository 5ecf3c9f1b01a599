"""The server's work: requests checked, queued for the engine, and answered whole, as a stream, or by a script."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse

from greenllm.engines import Completion, Engine, Prompt, PromptError, ScoresTokens
from greenllm.serving import protocol
from greenllm.serving.batching import Answers, Batcher, EngineFailed, Question, QueueFull
from greenllm.serving.energy_sampling import KEPT_S, EnergySampling
from greenllm.serving.event_stream import MEDIA_TYPE, event
from greenllm.serving.idle_unloading import IdleUnloading
from greenllm.serving.limits import Limits, answer_limit
from greenllm.serving.metrics import Metrics
from greenllm.serving.refusals import CLIENT_GONE, ENGINE_FAILED, Refused
from greenllm.serving.request_energy import RequestEnergy
from greenllm.serving.response_body import ResponseBody
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
    """One request that waits for its answers."""

    request: protocol.Request
    body: ResponseBody
    answers: Answers
    began_s: float
    energy: EnergySampling | None
    prompt_tokens: int | None
    """Tokens of all prompts, if the client asks for token counts in each chunk of a stream."""

    def chunk(self, piece: str, index: int) -> dict[str, Any]:
        """Return the next chunk of a stream, with new text of answer `index`."""
        chunk = self.body.chunk(piece, index=index)
        if self.prompt_tokens is not None:
            chunk["usage"] = self.body.count(piece, self.prompt_tokens, index)
        return chunk

    def last_events(self, completions: Sequence[Completion]) -> bytes:
        """Return the end of a stream: the token counts if requested, and [DONE]."""
        last = [b"data: [DONE]\n\n"]
        if self.request.stream_options and self.request.stream_options.include_usage:
            last.insert(0, event(self.with_energy(self.body.usage_chunk(completions))))
        return b"".join(last)

    @property
    def energies(self) -> list[RequestEnergy]:
        """The energy of each answer; empty where the server does not count it."""
        return [request.energy for request in self.answers.requests if request.energy is not None]

    def with_energy(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return an answer, or a chunk of one, with the energy beside its token counts, where the server counts it."""
        if self.energy is not None:
            content["usage"]["energy"] = self.energy.described(self.energies)
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
        """Answer plain prompts."""
        self.check_model(request.model)
        if request.max_tokens == 0 and not request.echo:
            raise Refused(422, "max_tokens: 0 is only for `echo: true`; ask for at least 1", param="max_tokens")
        decodings = request.decodings()
        self._check_scores(
            request, echoed_ids=bool(request.echo) and any(isinstance(one, Prompt) for one in request.prompts)
        )
        questions = [
            Question(
                prompt,
                answer_limit(self._engine, prompt, request.max_tokens, self._limits),
                decoding,
                echo=bool(request.echo),
            )
            for prompt in request.prompts
            for decoding in decodings
        ]
        body = ResponseBody("text_completion", self._name, choices=len(decodings), alternatives=request.alternatives)
        return await self._answered(http, self.submit(request, body, questions, streaming=request.stream))

    async def chat(self, http: HttpRequest, request: protocol.ChatRequest) -> Response:
        """Answer the messages of a chat."""
        self.check_model(request.model)
        try:
            prompt = self._engine.chat_prompt([message.plain() for message in request.messages])
        except PromptError as error:
            raise Refused(422, str(error), param="messages") from None
        if self._replies is not None:
            return await self.scripted(http, request, prompt, self._replies)
        self._check_scores(request)
        limit = answer_limit(self._engine, prompt, request.max_completion_tokens or request.max_tokens, self._limits)
        questions = [Question(prompt, limit, decoding) for decoding in request.decodings()]
        body = ResponseBody("chat.completion", self._name, choices=len(questions), alternatives=request.alternatives)
        return await self._answered(http, self.submit(request, body, questions, streaming=request.stream))

    def submit(
        self, request: protocol.Request, body: ResponseBody, questions: Sequence[Question], *, streaming: bool
    ) -> Exchange:
        """Queue the questions of a request; raise `Refused` if they are too many or the queue is full."""
        if len(questions) > self._limits.queue:
            message = (
                f"{len(questions)} answers are asked for; this server's queue holds {self._limits.queue}; ask for fewer"
            )
            raise Refused(422, message, param="n" if (request.n or 1) > 1 else "prompt")
        began_s = time.perf_counter()
        try:
            answers = self._batcher.submit(questions, streaming=streaming)
        except QueueFull:
            raise Refused(429, "the queue is full; try again later", code="queue_full") from None
        prompt_tokens = None
        if streaming and request.counts_each_chunk:
            prompt_tokens = sum(self._engine.count_tokens(one.prompt) for one in questions[:: request.n or 1])
        return Exchange(request, body, answers, began_s, self._energy, prompt_tokens)

    async def _answered(self, http: HttpRequest, exchange: Exchange) -> Response:
        return self.streamed(exchange) if exchange.request.stream else await self.whole(http, exchange)

    def _check_scores(self, request: protocol.Request, *, echoed_ids: bool = False) -> None:
        """Raise `Refused` if log probabilities, or the text of token ids, are asked for and the engine has none."""
        if isinstance(self._engine, ScoresTokens) or not (echoed_ids or request.alternatives is not None):
            return
        what = "echo: the text of token ids" if request.alternatives is None else "logprobs: log probabilities"
        raise Refused(422, f"{what} can't be computed by the engine {self._engine.name}; leave it out")

    async def whole(self, http: HttpRequest, exchange: Exchange) -> Response:
        """Answer in one piece."""
        completions = await self._completions(http, exchange)
        if completions is None:
            return Response(status_code=CLIENT_GONE)
        return JSONResponse(exchange.with_energy(exchange.body.whole(completions)))

    async def scripted(
        self, http: HttpRequest, request: protocol.ChatRequest, prompt: str, replies: Replies
    ) -> Response:
        """Answer by a scripted reply. It depends on the model's complete answer, so a stream has it in one piece.

        The intent is decoded greedily, whatever the client's temperature: a reply does not depend on chance. The
        client's limit is meant for the reply; it must not cut the intent.
        """
        unscripted = {
            "n": (request.n or 1) > 1,
            "stop": request.stop,
            "logprobs": request.logprobs,
            "ignore_eos": request.ignore_eos,
        }
        for field, asked in unscripted.items():
            if asked:
                raise Refused(
                    422, f"{field}: chats get scripted replies here, which have none; leave it out", param=field
                )
        limit = answer_limit(self._engine, prompt, None, self._limits)
        body = ResponseBody("chat.completion", self._name)
        exchange = self.submit(request, body, [Question(prompt, limit, confidence=True)], streaming=False)
        completions = await self._completions(http, exchange)
        if completions is None:
            return Response(status_code=CLIENT_GONE)
        reply = replies.to(completions[0])
        shown = dataclasses.replace(completions[0], text=reply.text, finish_reason="stop")
        reason = {"greenllm": reply.described()}  # beside OpenAI's own fields
        if not request.stream:
            return JSONResponse(exchange.with_energy(body.whole([shown])) | reason)
        self.metrics.first_token_s.observe(time.perf_counter() - exchange.began_s)
        content = event(body.chunk(shown.text)) + event(body.chunk("", shown.finish_reason) | reason)
        return Response(content + exchange.last_events([shown]), media_type=MEDIA_TYPE, headers=NOT_STORED)

    def streamed(self, exchange: Exchange) -> Response:
        """Answer as a stream of server-sent events, each with the text that is new."""
        return StreamingResponse(self._events(exchange), media_type=MEDIA_TYPE, headers=NOT_STORED)

    async def _events(self, exchange: Exchange) -> AsyncIterator[bytes]:
        completions: dict[int, Completion] = {}
        first, finished = True, False
        try:
            async for index, update in exchange.answers.updates():
                if first:
                    self.metrics.first_token_s.observe(time.perf_counter() - exchange.began_s)
                    first = False
                if isinstance(update, Completion):
                    completions[index] = update
                    finished = len(completions) == len(exchange.answers.requests)
                    if finished:
                        self._count([completions[one] for one in sorted(completions)], exchange)
                    yield event(exchange.body.chunk("", update.finish_reason, index))
                else:
                    yield event(exchange.chunk(update, index))
            yield exchange.last_events([completions[index] for index in sorted(completions)])
        except EngineFailed:
            finished = True
            self._batcher.cancel(exchange.answers)
            yield event(ENGINE_FAILED)
        finally:
            if not finished:
                self._drop(exchange)

    async def _completions(self, http: HttpRequest, exchange: Exchange) -> list[Completion] | None:
        """Return the model's answers, or None as soon as the client disconnects."""
        answers = asyncio.ensure_future(exchange.answers.completions())
        gone = asyncio.ensure_future(_disconnected(http))
        try:
            await asyncio.wait({answers, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answers.done():
                self._count(answers.result(), exchange)
                return answers.result()
            self._drop(exchange)
            return None
        except EngineFailed:
            self._batcher.cancel(exchange.answers)
            raise
        finally:
            answers.cancel()
            gone.cancel()

    def _count(self, completions: Sequence[Completion], exchange: Exchange) -> None:
        tokens = sum(completion.tokens for completion in completions)
        prompt_tokens = exchange.body.prompt_tokens(completions)
        self._served.requests += 1
        self._served.tokens += tokens
        self._served.prompt_tokens += prompt_tokens
        self.metrics.completion_tokens.inc(tokens)
        self.metrics.prompt_tokens.inc(prompt_tokens)
        self.metrics.latency_s.observe(time.perf_counter() - exchange.began_s)
        if self._energy is not None:
            self._energy.keep(exchange.body.id, exchange.energies)

    def _drop(self, exchange: Exchange) -> None:
        self._batcher.cancel(exchange.answers)
        self.metrics.dropped.inc()


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
