"""An OpenAI-compatible HTTP server around one engine."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from greenllm import __version__
from greenllm.engines import Completion, Engine, PromptError
from greenllm.serving import protocol
from greenllm.serving.batching import Batcher, EngineFailed, QueueFull, Ticket
from greenllm.serving.bodies import body_of, describe, read_body
from greenllm.serving.event_stream import MEDIA_TYPE, event
from greenllm.serving.limits import BodyLimit
from greenllm.serving.metrics import CountRequests, Metrics
from greenllm.serving.refusals import Refused, report_errors
from greenllm.serving.scripted_replies import Replies

NOT_STORED = {"Cache-Control": "no-cache"}


@dataclass(frozen=True)
class Limits:
    """What one server takes on."""

    batch: int = 8
    """Most requests generated together."""
    queue: int = 256
    """Most requests that wait."""
    max_tokens: int = 256
    """Most tokens of an answer; also what a request gets that names no number."""
    body_bytes: int = 1024 * 1024
    """Largest request body."""


@dataclass
class Served:
    """What a server has done: the R of its E = C/R."""

    requests: int = 0
    tokens: int = 0
    prompt_tokens: int = 0


def make_app(engine: Engine, name: str, limits: Limits, served: Served, replies: Replies | None = None) -> FastAPI:
    """Return the application that serves `engine` under the model name `name`, and counts its work in `served`.

    With `replies` a chat is answered with one of them, by the intent that the model names and its confidence.
    """
    metrics = Metrics(lambda: batcher.waiting())
    batcher = Batcher(engine, batch=limits.batch, queue=limits.queue, on_batch=metrics.batch.observe)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close)

    app = FastAPI(
        title="GreenLLM",
        version=__version__,
        description="OpenAI-compatible. Decoding is greedy: `temperature` may be absent or 0, and both mean 0.",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, most_bytes=limits.body_bytes)
    app.add_middleware(CountRequests, metrics=metrics)
    report_errors(app)
    describe(app, protocol.CompletionRequest, protocol.ChatRequest)

    def check_model(asked: str | None) -> None:
        if asked not in (None, name):
            raise Refused(
                404,
                f"no model {asked!r} here; this server has {name!r}",
                param="model",
                code="model_not_found",
            )

    def submit(prompt: str, asked: int | None, streaming: bool, confidence: bool) -> Ticket:
        try:
            tokens = engine.count_tokens(prompt)
        except PromptError as error:
            raise Refused(422, str(error), param="prompt") from None
        room = engine.context - tokens
        if tokens == 0:
            raise Refused(422, "the prompt is empty; expected at least one token", code="empty_prompt")
        if room < (asked or 1):
            wanted = f" and {asked} more asked for" if asked else ""
            raise Refused(
                422,
                f"the prompt has {tokens} tokens{wanted}, but prompt and answer together may have {engine.context}; "
                "shorten the prompt or ask for fewer tokens",
                code="context_length_exceeded",
            )
        if asked and asked > limits.max_tokens:
            raise Refused(422, f"this server answers with at most {limits.max_tokens} tokens", param="max_tokens")
        try:
            return batcher.submit(
                prompt, asked or min(limits.max_tokens, room), streaming=streaming, confidence=confidence
            )
        except QueueFull:
            raise Refused(429, "too many requests wait already; try again later", code="queue_full") from None

    def count(completion: Completion, began: float) -> None:
        served.requests += 1
        served.tokens += completion.tokens
        served.prompt_tokens += completion.prompt_tokens
        metrics.completion_tokens.inc(completion.tokens)
        metrics.prompt_tokens.inc(completion.prompt_tokens)
        metrics.latency_s.observe(time.perf_counter() - began)

    async def answer(
        http: HttpRequest,
        request: protocol.Request,
        prompt: str,
        asked: int | None,
        form: protocol.Answer,
        script: Replies | None = None,
    ) -> Response:
        began = time.perf_counter()
        # What is replied hangs on the whole answer.
        ticket = submit(prompt, asked, request.stream and script is None, confidence=script is not None)
        if script is not None or not request.stream:
            completion = await _completion_unless_gone(http, ticket)
            if completion is None:
                batcher.cancel(ticket)
                metrics.dropped.inc()
                return Response(status_code=499)  # nobody reads it; nginx's code for a client that went away
            count(completion, began)
            told, more = _scripted(completion, script)
            if not request.stream:
                return JSONResponse(form.whole(told) | more)
            metrics.first_token_s.observe(time.perf_counter() - began)
            content = event(form.chunk(told.text)) + _last_events(request, form, told, more)
            return Response(content, media_type=MEDIA_TYPE, headers=NOT_STORED)

        async def events() -> AsyncIterator[bytes]:
            first = True
            finished = False
            try:
                async for news in ticket.pieces():
                    if first:
                        metrics.first_token_s.observe(time.perf_counter() - began)
                        first = False
                    if isinstance(news, str):
                        yield event(form.chunk(news))
                        continue
                    finished = True
                    count(news, began)
                    yield _last_events(request, form, news, {})
            except EngineFailed:
                finished = True
                yield event(protocol.error("the engine failed; see the server's log", "server_error"))
            finally:
                if not finished:
                    batcher.cancel(ticket)
                    metrics.dropped.inc()

        return StreamingResponse(events(), media_type=MEDIA_TYPE, headers=NOT_STORED)

    @app.post("/v1/completions", response_model=None, openapi_extra=body_of(protocol.CompletionRequest))
    async def completions(http: HttpRequest) -> Response:
        request = await read_body(http, protocol.CompletionRequest)
        check_model(request.model)
        form = protocol.Answer("text_completion", name)
        assert isinstance(request.prompt, str)
        return await answer(http, request, request.prompt, request.max_tokens, form)

    @app.post("/v1/chat/completions", response_model=None, openapi_extra=body_of(protocol.ChatRequest))
    async def chat_completions(http: HttpRequest) -> Response:
        request = await read_body(http, protocol.ChatRequest)
        check_model(request.model)
        try:
            prompt = engine.chat_prompt([message.plain() for message in request.messages])
        except PromptError as error:
            raise Refused(422, str(error), param="messages") from None
        form = protocol.Answer("chat.completion", name)
        # A limit is meant for the text that comes, and does not cut the name of the intent behind a scripted one.
        asked = None if replies else request.max_completion_tokens or request.max_tokens
        return await answer(http, request, prompt, asked, form, replies)

    described = {"id": name, "object": "model", "created": 0, "owned_by": "greenllm"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [described]}

    @app.get("/v1/models/{asked:path}")
    async def model(asked: str) -> dict[str, Any]:
        check_model(asked)
        return described

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": name, "engine": engine.name, "precision": engine.precision}

    @app.get("/metrics")
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _scripted(completion: Completion, script: Replies | None) -> tuple[Completion, dict[str, Any]]:
    """Return what the client is told instead of the model's answer, and a field that says why, beside OpenAI's own."""
    if script is None:
        return completion, {}
    reply = script.to(completion)
    return dataclasses.replace(completion, text=reply.text, finish_reason="stop"), {"greenllm": reply.described()}


async def _completion_unless_gone(http: HttpRequest, ticket: Ticket) -> Completion | None:
    """Return a request's completion, or None as soon as its client goes away."""
    answer = asyncio.ensure_future(ticket.completion())
    gone = asyncio.ensure_future(_disconnect(http))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        gone.cancel()


async def _disconnect(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _last_events(request: protocol.Request, form: protocol.Answer, told: Completion, more: dict[str, Any]) -> bytes:
    """Return what ends a stream: why the answer ended, the token counts where they are asked for, and the end."""
    last = [event(form.chunk("", told.finish_reason) | more)]
    if request.stream_options and request.stream_options.include_usage:
        last.append(event(form.usage_chunk(told)))
    return b"".join([*last, b"data: [DONE]\n\n"])
