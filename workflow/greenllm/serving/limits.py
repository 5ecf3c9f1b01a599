"""The server's limits: how long a prompt and its answer may be (in tokens), how large a body, how full the queue."""

from dataclasses import dataclass

from fastapi import Request as HttpRequest

from greenllm.engines import Engine, PromptError
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
    if room < (1 if asked is None else asked):
        wanted = f" and {asked} more are asked for" if asked else ""
        raise Refused(
            422,
            f"the prompt has {tokens} tokens{wanted}, but prompt and answer together may have {engine.context}; "
            "shorten the prompt or ask for fewer tokens",
            code="context_length_exceeded",
        )
    if asked and asked > limits.max_tokens:
        raise Refused(422, f"this server answers with at most {limits.max_tokens} tokens", param="max_tokens")
    return min(limits.max_tokens, room) if asked is None else asked


async def read_within(http: HttpRequest, most_bytes: int) -> bytes:
    """Return a request's body; raise `Refused` if it has more than `most_bytes`, also without a declared size."""
    body, size = bytearray(), 0
    async for part in http.stream():
        size += len(part)
        if size <= most_bytes:
            body += part
        elif size > MOST_DISCARDED_bytes:
            break
    if size > most_bytes:
        raise Refused(413, f"the body has more than {most_bytes} bytes; shorten the prompt")
    return bytes(body)
