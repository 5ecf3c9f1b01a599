"""The part of OpenAI's HTTP interface that the server supports: requests, responses and errors.

Decoding is always greedy, so `temperature` may be absent or 0. A request for anything else is refused with a message
instead of being ignored (platform.openai.com/docs/api-reference). A field that is null, or has the value by which it
asks for nothing, counts as absent.
"""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, field_validator, model_validator

from greenllm.engines import Completion, Prompt


def _only(*values: object, because: str = "") -> AfterValidator:
    """Return the check of a field that may be null or one of `values`, which ask for nothing special."""
    shown = " or ".join(json.dumps(value) for value in values)

    def check(value: object) -> object:
        if value is None or any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values):
            return value
        raise ValueError(f"only {shown} is supported{because}; leave it out or send {shown}")

    return AfterValidator(check)


def _nothing(value: object) -> object:
    # `"logprobs": 0` asks for the log probability of the token itself.
    if value in (None, "", [], {}) or value is False:
        return value
    raise ValueError("not supported by this server; leave it out")


Nothing = Annotated[Any, AfterValidator(_nothing)]
"""A field for something that this server can't do: it must be null, false or empty."""


class Asked(BaseModel):
    """A part of a request. Unknown keys are refused, unless they are null, which asks for nothing."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_unknown_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None or key in cls.model_fields}


class StreamOptions(Asked):
    """What a stream contains besides the text."""

    include_usage: bool | None = None
    include_obfuscation: Nothing = None


class Request(Asked):
    """The fields that both kinds of request share."""

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[Any, _only(0, because=" (greedy decoding)")] = None
    # No effect on greedy decoding, or on anything here.
    top_p: float | None = None
    seed: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    # Not supported: only the values that ask for nothing are accepted.
    n: Annotated[Any, _only(1, because=", because greedy decoding has one answer")] = None
    stop: Nothing = None
    logprobs: Nothing = None
    presence_penalty: Annotated[Any, _only(0)] = None
    frequency_penalty: Annotated[Any, _only(0)] = None
    logit_bias: Nothing = None
    service_tier: Annotated[Any, _only("auto", "default")] = None

    @field_validator("stream", mode="before")
    @classmethod
    def _false(cls, value: object) -> object:
        return False if value is None else value


class CompletionRequest(Request):
    """The body of POST /v1/completions."""

    prompt: str | list[StrictInt] | list[str] | list[list[StrictInt]]
    """A text or token ids, or a list of one of these. Only ids can name special tokens."""
    best_of: Annotated[Any, _only(1, because=", because greedy decoding has one answer")] = None
    echo: Nothing = None
    suffix: Nothing = None

    @field_validator("prompt")
    @classmethod
    def _one_prompt(cls, value: str | list[Any]) -> str:
        if isinstance(value, str):
            return value
        if value and isinstance(value[0], int):
            return Prompt("", value)
        if len(value) != 1:
            raise ValueError("expected one prompt per request; the server batches requests by itself")
        return value[0] if isinstance(value[0], str) else Prompt("", value[0])


class TextPart(Asked):
    """A part of a message; a language model reads text only."""

    type: Literal["text"]
    text: str


class Message(Asked):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None  # chat templates don't use it
    # Not supported, as above. An earlier answer in a request has some of them, empty.
    tool_calls: Nothing = None
    function_call: Nothing = None
    refusal: Nothing = None
    audio: Nothing = None
    annotations: Nothing = None

    def plain(self) -> dict[str, str]:
        """Return role and content, as a chat template expects them."""
        content = self.content
        return {
            "role": self.role,
            "content": content if isinstance(content, str) else "".join(part.text for part in content),
        }


class ChatRequest(Request):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    # Not supported, as above.
    top_logprobs: Annotated[Any, _only(0)] = None
    response_format: Annotated[Any, _only({"type": "text"})] = None
    modalities: Annotated[Any, _only(["text"])] = None
    audio: Nothing = None
    prediction: Nothing = None
    reasoning_effort: Annotated[Any, _only("none")] = None
    verbosity: Annotated[Any, _only("medium")] = None
    web_search_options: Nothing = None
    tools: Nothing = None
    functions: Nothing = None
    # Without tools these have no effect.
    tool_choice: Annotated[Any, _only("none", "auto")] = None
    function_call: Annotated[Any, _only("none", "auto")] = None
    parallel_tool_calls: bool | None = None


class ResponseBody:
    """The JSON objects of one response, of either kind: whole, or chunk by chunk."""

    def __init__(self, kind: Literal["text_completion", "chat.completion"], model: str) -> None:
        self._chat = kind == "chat.completion"
        self._object = kind
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._first = True

    @property
    def id(self) -> str:
        """The answer's id."""
        return str(self._head["id"])

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the answer in one piece."""
        content = (
            {"message": {"role": "assistant", "content": completion.text}} if self._chat else {"text": completion.text}
        )
        choice = {"index": 0, **content, "finish_reason": completion.finish_reason, "logprobs": None}
        return {**self._head, "object": self._object, "choices": [choice], "usage": usage(completion)}

    def chunk(self, piece: str, finish_reason: str | None = None) -> dict[str, Any]:
        """Return the next chunk of a stream: new text, or the reason why the answer ended."""
        content: dict[str, Any] = {"text": piece}
        if self._chat:
            content = {"delta": ({"role": "assistant"} if self._first else {}) | ({"content": piece} if piece else {})}
        self._first = False
        choice = {"index": 0, **content, "finish_reason": finish_reason, "logprobs": None}
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
