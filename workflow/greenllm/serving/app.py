"""The OpenAI-compatible HTTP interface: one route an address, each answered by the `Service`."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from greenllm import __version__
from greenllm.engines import Engine
from greenllm.serving.bodies import body_of, describe, read_body
from greenllm.serving.limits import Limits
from greenllm.serving.metrics import CountRequests
from greenllm.serving.protocol import ChatRequest, CompletionRequest
from greenllm.serving.refusals import report_errors
from greenllm.serving.scripted_replies import Replies
from greenllm.serving.service import Served, Service


def make_app(
    engine: Engine,
    name: str,
    limits: Limits,
    served: Served,
    replies: Replies | None = None,
    *,
    folder: Path = Path(),
    unload_after_s: float | None = None,
    energy_threads: int | None = None,
) -> FastAPI:
    """Return the application that serves `engine` under the model name `name`, and counts its work in `served`.

    With `replies`, a chat is answered by the reply to the intent that the model names, if it is confident enough. With
    `unload_after_s`, the model of `folder` is unloaded after that time without requests, and loaded by the next one.
    With `energy_threads`, each answer has its energy, counted as that of a job that reserved so many processors.
    Raises UserError if the engine can't do so.
    """
    service = Service(engine, name, limits, served, replies, folder, unload_after_s, energy_threads)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
        title="GreenLLM",
        version=__version__,
        description="OpenAI-compatible. Without `temperature`, or with 0, decoding is greedy.",
        lifespan=lifespan,
    )
    app.add_middleware(CountRequests, metrics=service.metrics)
    report_errors(app)
    describe(app, CompletionRequest, ChatRequest)

    @app.post("/v1/completions", response_model=None, openapi_extra=body_of(CompletionRequest))
    async def completions(http: HttpRequest) -> Response:
        return await service.complete(http, await read_body(http, CompletionRequest, limits.body_bytes))

    @app.post("/v1/chat/completions", response_model=None, openapi_extra=body_of(ChatRequest))
    async def chat_completions(http: HttpRequest) -> Response:
        return await service.chat(http, await read_body(http, ChatRequest, limits.body_bytes))

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [service.model()]}

    @app.get("/v1/models/{asked:path}")
    async def model(asked: str) -> dict[str, Any]:
        service.check_model(asked)
        return service.model()

    @app.get("/v1/energy/{answer}")
    async def energy(answer: str) -> dict[str, Any]:
        return service.energy(answer)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return service.health()

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app
