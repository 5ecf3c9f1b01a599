"""Errors as the client gets them: each in OpenAI's form, without a path or a traceback."""

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from greenllm.serving import protocol
from greenllm.serving.batching import EngineFailed

CLIENT_GONE = 499  # nginx's status for a client that closed the connection
ENGINE_FAILED = protocol.error("the engine failed; see the server's log", "server_error")


class Refused(Exception):  # noqa: N818
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


def report_errors(app: FastAPI) -> None:
    """Have an application answer every error in this form."""

    @app.exception_handler(Refused)
    async def refused(http: HttpRequest, error: Refused) -> JSONResponse:
        content = protocol.error(error.message, param=error.param, code=error.code)
        headers = {429: {"Retry-After": "1"}, 413: {"Connection": "close"}}.get(error.status)
        return JSONResponse(content, status_code=error.status, headers=headers)

    @app.exception_handler(HTTPException)
    async def http_error(http: HttpRequest, error: HTTPException) -> JSONResponse:
        content = protocol.error(f"{http.method} {http.url.path}: {error.detail}")
        return JSONResponse(content, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(http: HttpRequest, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(EngineFailed)
    async def engine_failed(http: HttpRequest, error: EngineFailed) -> JSONResponse:
        return JSONResponse(ENGINE_FAILED, status_code=500)

    @app.exception_handler(Exception)
    async def failed(http: HttpRequest, error: Exception) -> JSONResponse:
        return JSONResponse(protocol.error("the server failed; see its log", "server_error"), status_code=500)
