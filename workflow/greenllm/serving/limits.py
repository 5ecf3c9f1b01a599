"""A limit on the size of request bodies, for those that say their size and for those that don't."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greenllm.serving import protocol

# A client that is still sending does not read the answer, so a body somewhat too large is read to its end.
MOST_DISCARDED_bytes = 64 * 1024 * 1024


class BodyLimit:
    """ASGI middleware: a body of more than `most_bytes` is answered with 413, and never reaches the application.

    Starlette's own middleware answers in plain text, which clients of this interface do not understand.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then hand it to the application in one piece, or refuse it."""
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
