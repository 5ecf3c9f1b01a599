"""The server's limits: how long a prompt and its answer may be (in tokens), how large a body, how full the queue."""

from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greenllm.engines import Engine, PromptError
from greenllm.serving import protocol
from greenllm.serving.refusals import Refused

# A client that is still sending does not read the answer, so a body that is somewhat too large is read to its end.
MOST_DISCARDED_bytes = 64 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """The limits of one server."""

    batch: int = 8
    """Most requests generated together."""
    queue: int = 256
    """Most requests that wait."""
    max_tokens: int = 256
    """Most tokens of an answer; also the limit of a request that names none."""
    body_bytes: int = 1024 * 1024
    """Largest request body."""


def answer_limit(engine: Engine, prompt: str, asked: int | None, limits: Limits) -> int:
    """Return the most tokens that the answer to `prompt` may have; `asked` is the client's own limit, if it has one.

    Raises `Refused` if the prompt is empty, if prompt and answer don't fit in the model's context, or if more tokens
    are asked for than the server allows.
    """
    try:
        tokens = engine.count_tokens(prompt)
    except PromptError as error:
        raise Refused(422, str(error), param="prompt") from None
    room = engine.context - tokens
    if tokens == 0:
        raise Refused(422, "the prompt is empty; expected at least one token", code="empty_prompt")
    if room < (asked or 1):
        wanted = f" and {asked} more are asked for" if asked else ""
        raise Refused(
            422,
            f"the prompt has {tokens} tokens{wanted}, but prompt and answer together may have {engine.context}; "
            "shorten the prompt or ask for fewer tokens",
            code="context_length_exceeded",
        )
    if asked and asked > limits.max_tokens:
        raise Refused(422, f"this server answers with at most {limits.max_tokens} tokens", param="max_tokens")
    return asked or min(limits.max_tokens, room)


class BodyLimit:
    """ASGI middleware: a body of more than `most_bytes` is answered with 413 and never reaches the application.

    Starlette's own middleware answers in plain text, which clients of this interface do not understand.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass it to the application in one piece, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, size, more = bytearray(), 0, True
        while more and size <= MOST_DISCARDED_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size <= self._most_bytes:
                body += message.get("body", b"")
        if size > self._most_bytes:
            content = protocol.error(f"the body has more than {self._most_bytes} bytes; shorten the prompt")
            response = JSONResponse(content, status_code=413, headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        unread = True

        async def receive_whole() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": bytes(body), "more_body": False}
            return await receive()

        await self._app(scope, receive_whole, send)
