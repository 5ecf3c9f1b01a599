"""The part of OpenAI's HTTP interface that the server speaks: its requests, answers and errors.

Greedy decoding is all there is, so `temperature` may be absent or 0; what would need anything else is refused
with a message instead of being ignored (platform.openai.com/docs/api-reference).
"""

import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from greenllm.serving.engines import Completion


class StreamOptions(BaseModel):
    """What a stream tells besides the text."""

    include_usage: bool = False


class Request(BaseModel):
    """What both kinds of request have in common."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    # No effect on greedy decoding, or on anything here.
    top_p: float | None = None
    seed: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    # Not supported: only the value that asks for nothing is accepted.
    n: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    @field_validator("temperature")
    @classmethod
    def _greedy(cls, value: float | None) -> float | None:
        if value:
            raise ValueError("only 0 (greedy decoding) is supported; leave it out or send 0")
        return value

    @field_validator("n", "best_of", check_fields=False)
    @classmethod
    def _one(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("only 1 is supported; greedy decoding has one answer")
        return value

    @field_validator(
        "stop",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "echo",
        "suffix",
        "tools",
        check_fields=False,
    )
    @classmethod
    def _unsupported(cls, value: object) -> object:
        # `"logprobs": 0` asks for the log probability of the token itself, false for nothing.
        if value is not None and (value or (value == 0 and type(value) is int)):
            raise ValueError("not supported by this server; leave it out")
        return value


class CompletionRequest(Request):
    """The body of POST /v1/completions."""

    prompt: str | list[str]
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None

    @field_validator("prompt")
    @classmethod
    def _one_prompt(cls, value: str | list[str]) -> str:
        if isinstance(value, str):
            return value
        if len(value) != 1:
            raise ValueError("expected one prompt a request; the server batches requests by itself")
        return value[0]


class TextPart(BaseModel):
    """A part of a message; text is the only kind that a language model reads."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        """Return role and content as a chat template takes them."""
        content = self.content
        return {
            "role": self.role,
            "content": content if isinstance(content, str) else "".join(part.text for part in content),
        }


class ChatRequest(Request):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    top_logprobs: int | None = None
    tools: list[Any] | None = None


class Answer:
    """The JSON objects of one answer, of either kind: whole, or chunk by chunk."""

    def __init__(self, kind: Literal["text_completion", "chat.completion"], model: str) -> None:
        self._chat = kind == "chat.completion"
        self._object = kind
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._first = True

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the answer in one piece."""
        said = (
            {"message": {"role": "assistant", "content": completion.text}} if self._chat else {"text": completion.text}
        )
        choice = {"index": 0, **said, "finish_reason": completion.finish_reason, "logprobs": None}
        return {**self._head, "object": self._object, "choices": [choice], "usage": usage(completion)}

    def chunk(self, piece: str, finish_reason: str | None = None) -> dict[str, Any]:
        """Return the next chunk of a stream: new text, or why the answer ended."""
        said: dict[str, Any] = {"text": piece}
        if self._chat:
            said = {"delta": ({"role": "assistant"} if self._first else {}) | ({"content": piece} if piece else {})}
        self._first = False
        choice = {"index": 0, **said, "finish_reason": finish_reason, "logprobs": None}
        return {**self._head, "object": self._chunk, "choices": [choice]}

    def usage_chunk(self, completion: Completion) -> dict[str, Any]:
        """Return a stream's last chunk, with the token counts and no text."""
        return {**self._head, "object": self._chunk, "choices": [], "usage": usage(completion)}

    @property
    def _chunk(self) -> str:
        return "chat.completion.chunk" if self._chat else self._object


def usage(completion: Completion) -> dict[str, int]:
    """Return the token counts of an answer."""
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.tokens,
        "total_tokens": completion.prompt_tokens + completion.tokens,
    }


def error(
    message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Mapping[str, Any]:
    """Return the JSON object of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
