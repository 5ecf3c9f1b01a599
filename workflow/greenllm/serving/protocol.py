"""The part of OpenAI's HTTP interface that the server supports: requests and errors.

What the server can't do is refused with a message instead of being ignored (platform.openai.com/docs/api-reference). A
field that is null, or has the value by which it asks for nothing, counts as absent.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from greenllm.engines import Prompt
from greenllm.engines.decoding_choice import Decoding

MOST_STOPS = 16  # OpenAI's interface allows 4, but tasks of lm-evaluation-harness send more
MOST_CHOICES = 128  # the limit of OpenAI's interface


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


def _number(low: int, high: int, *, whole: bool = False, because: str = "") -> BeforeValidator:
    """Return the check of a field that is null or a number from `low` to `high`."""
    kind = "an integer" if whole else "a number"

    def check(value: object) -> object:
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if value is None or (right and low <= value <= high):  # type: ignore[operator] # it is a number
            return value
        raise ValueError(f"expected {kind} from {low} to {high}{because}")

    return BeforeValidator(check)


def _stops(value: str | list[str] | None) -> list[str]:
    stops = [value] if isinstance(value, str) and value else list(value or [])
    if len(stops) > MOST_STOPS:
        raise ValueError(f"{len(stops)} stop strings; expected at most {MOST_STOPS}")
    if "" in stops:
        raise ValueError("a stop string is empty; leave it out")
    return stops


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

    include_usage: StrictBool | None = None
    continuous_usage_stats: StrictBool | None = None
    """With `include_usage`: token counts in each chunk; not in OpenAI's interface, but benchmarks send it."""
    include_obfuscation: Nothing = None


class Request(Asked):
    """The fields that both kinds of request share."""

    model: str | None = None
    max_tokens: StrictInt | None = Field(None, ge=1)
    stream: StrictBool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[
        Annotated[float, Field(ge=0, le=2)] | None, _number(0, 2, because=" (0, the default: greedy)")
    ] = None
    """Absent or 0: greedy decoding."""
    top_p: Annotated[Annotated[float, Field(ge=0, le=1)] | None, _number(0, 1)] = None
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)] | None = None
    """With the same seed the answer is the same. Without it the server draws one."""
    n: Annotated[Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None, _number(1, MOST_CHOICES, whole=True)] = None
    """Number of answers to each prompt. They are sampled with the seeds `seed`, `seed` + 1 and so on."""
    stop: Annotated[str | list[str] | None, AfterValidator(_stops)] = None
    ignore_eos: StrictBool | None = None
    """Never end by the model's end token; not in OpenAI's interface, but benchmarks send it."""
    # No effect here.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    metadata: dict[str, str] | None = None
    store: StrictBool | None = None
    # Not supported: only the values that ask for nothing are accepted.
    presence_penalty: Annotated[Any, _only(0)] = None
    frequency_penalty: Annotated[Any, _only(0)] = None
    logit_bias: Nothing = None
    service_tier: Annotated[Any, _only("auto", "default")] = None

    @field_validator("stream", mode="before")
    @classmethod
    def _false(cls, value: object) -> object:
        return False if value is None else value

    @property
    def counts_each_chunk(self) -> bool:
        """Whether each chunk of a stream has token counts."""
        options = self.stream_options
        return options is not None and bool(options.include_usage and options.continuous_usage_stats)

    @property
    def alternatives(self) -> int | None:
        """Number of most likely tokens to report with each token; None: no log probabilities."""
        raise NotImplementedError

    def decodings(self) -> list[Decoding]:
        """Return how each of the `n` answers to a prompt is decoded."""
        seed = secrets.randbits(63) if self.seed is None else self.seed
        return [
            Decoding(
                temperature=self.temperature or 0.0,
                top_p=1.0 if self.top_p is None else self.top_p,
                seed=seed + choice,
                stop=tuple(self.stop or ()),
                alternatives=self.alternatives,
                ignore_end=bool(self.ignore_eos),
            )
            for choice in range(self.n or 1)
        ]


class CompletionRequest(Request):
    """The body of POST /v1/completions."""

    prompt: str | list[StrictInt] | list[str] | list[list[StrictInt]]
    """A text or token ids, or a list of these. Only ids can name special tokens."""
    max_tokens: StrictInt | None = Field(None, ge=0)
    """0 only with `echo`: nothing is generated."""
    best_of: Annotated[Any, _number(1, MOST_CHOICES, whole=True)] = None
    """Only the number of `n`: all answers are returned."""
    logprobs: Annotated[int | Literal[False] | None, Field(ge=0, le=5)] = None
    """Log probabilities of the tokens, and of this number of most likely ones."""
    echo: StrictBool | None = None
    """Return the prompt before the answer, with its log probabilities if `logprobs` asks for them."""
    suffix: Nothing = None

    @field_validator("prompt")
    @classmethod
    def _some(cls, value: str | list[Any]) -> str | list[Any]:
        if value == []:
            raise ValueError("is an empty list; expected a text, token ids, or a list of these")
        return value

    @field_validator("logprobs", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        if value is None or value is False:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 5:
            raise ValueError("expected an integer from 0 to 5: the number of most likely tokens to report")
        return value

    @field_validator("best_of")
    @classmethod
    def _of_n(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value not in (None, info.data.get("n") or 1):
            raise ValueError("only the number of `n` is supported; ask for `n` answers and choose among them")
        return value

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts, each a text or a `Prompt` of token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [_read(self.prompt)]
        return [_read(one) for one in self.prompt]

    @property
    def alternatives(self) -> int | None:
        """Number of most likely tokens to report with each token; None: no log probabilities."""
        return None if self.logprobs is None else int(self.logprobs)


def _read(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else Prompt("", prompt)


class TextPart(Asked):
    """A part of a message; a language model reads text only."""

    type: Literal["text"]
    text: str


class Message(Asked):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None  # chat templates don't use it
    type: Annotated[Any, _only("text", "message")] = None  # some clients add it
    # Not supported, as above. An earlier answer in a request has some of them, empty.
    tool_calls: Nothing = None
    function_call: Nothing = None
    refusal: Nothing = None
    audio: Nothing = None
    annotations: Nothing = None

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        if value is None:
            raise ValueError("is null; this server knows no tool calls and no refusals; send text")
        for part in value if isinstance(value, list) else []:
            if isinstance(part, dict) and part.get("type") != "text":
                kind = json.dumps(part.get("type"))[:60]
                raise ValueError(f"parts of type {kind} are not supported; send text")
        return value

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
    max_completion_tokens: StrictInt | None = Field(None, ge=1)
    logprobs: StrictBool | None = None
    """Log probabilities of the answer's tokens."""
    top_logprobs: Annotated[Annotated[int, Field(ge=0, le=20)] | None, _number(0, 20, whole=True)] = None
    """With `logprobs`: also those of this number of most likely tokens."""
    # Not supported, as above.
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
    parallel_tool_calls: StrictBool | None = None

    @field_validator("max_completion_tokens")
    @classmethod
    def _one_limit(cls, value: int | None, info: ValidationInfo) -> int | None:
        if None not in (value, info.data.get("max_tokens")) and value != info.data["max_tokens"]:
            raise ValueError(f"is {value}, and max_tokens is {info.data['max_tokens']}: expected one of them")
        return value

    @field_validator("top_logprobs")
    @classmethod
    def _with_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("needs `logprobs: true`")
        return value

    @property
    def alternatives(self) -> int | None:
        """Number of most likely tokens to report with each token; None: no log probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None


def error(
    message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Mapping[str, Any]:
    """Return the JSON object of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
