"""The JSON objects of responses in OpenAI's form: answers whole or chunk by chunk, log probabilities, token counts."""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from greenllm.engines import Completion
from greenllm.engines.decoding_choice import ScoredText, ScoredToken

Kind = Literal["text_completion", "chat.completion"]


class ResponseBody:
    """The JSON objects of one response, of either kind: whole, or chunk by chunk.

    `choices` is the number of answers to each prompt, `alternatives` that of the most likely tokens to report, None
    without log probabilities.
    """

    def __init__(self, kind: Kind, model: str, *, choices: int = 1, alternatives: int | None = None) -> None:
        self._chat = kind == "chat.completion"
        self._object = kind
        self._choices, self._alternatives = choices, alternatives
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._begun: set[int] = set()

    @property
    def id(self) -> str:
        """The answer's id."""
        return str(self._head["id"])

    def whole(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """Return all answers in one piece."""
        choices = [self._choice(index, completion) for index, completion in enumerate(completions)]
        return {**self._head, "object": self._object, "choices": choices, "usage": self._usage(completions)}

    def chunk(self, piece: str, finish_reason: str | None = None, index: int = 0) -> dict[str, Any]:
        """Return the next chunk of a stream: new text of answer `index`, or the reason why it ended."""
        content: dict[str, Any] = {"text": piece}
        if self._chat:
            role = {} if index in self._begun else {"role": "assistant"}
            content = {"delta": role | ({"content": piece} if piece else {})}
        self._begun.add(index)
        logprobs = self._logprobs(piece.tokens) if isinstance(piece, ScoredText) else None
        choice = {"index": index, **content, "finish_reason": finish_reason, "logprobs": logprobs}
        return {**self._head, "object": self._chunk, "choices": [choice]}

    def usage_chunk(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """Return a stream's last chunk, with the token counts and no text."""
        return {**self._head, "object": self._chunk, "choices": [], "usage": self._usage(completions)}

    def _choice(self, index: int, completion: Completion) -> dict[str, Any]:
        content: dict[str, Any] = {"text": completion.text}
        if self._chat:
            content = {"message": {"role": "assistant", "content": completion.text}}
        logprobs = None if completion.scored is None else self._logprobs(completion.scored)
        return {"index": index, **content, "finish_reason": completion.finish_reason, "logprobs": logprobs}

    def prompt_tokens(self, completions: Sequence[Completion]) -> int:
        """Return the number of tokens of all prompts. A prompt counts once, however many answers it has."""
        return sum(completion.prompt_tokens for completion in completions[:: self._choices])

    def _usage(self, completions: Sequence[Completion]) -> dict[str, int]:
        prompt_tokens = self.prompt_tokens(completions)
        tokens = sum(completion.tokens for completion in completions)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        }

    def _logprobs(self, tokens: Sequence[ScoredToken]) -> dict[str, Any]:
        if self._chat:
            return {"content": [_described(token) for token in tokens], "refusal": None}
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.log_probability for token in tokens],
            "top_logprobs": [_most_likely(token) for token in tokens] if self._alternatives else None,
            "text_offset": [token.begins for token in tokens],
        }

    @property
    def _chunk(self) -> str:
        return "chat.completion.chunk" if self._chat else self._object


def _described(token: ScoredToken) -> dict[str, Any]:
    """Return a token as chats report it."""
    alternatives = [_named(text, log_probability) for text, log_probability in token.alternatives]
    return {**_named(token.token, token.log_probability), "top_logprobs": alternatives}


def _named(token: str, log_probability: float | None) -> dict[str, Any]:
    # A token that is a part of a character has no text from which its bytes could be told.
    shown = None if "\ufffd" in token else list(token.encode())
    return {"token": token, "logprob": log_probability, "bytes": shown}


def _most_likely(token: ScoredToken) -> dict[str, float] | None:
    """Return log probabilities by text, as completions report them: of the most likely tokens, and of the token itself.

    Of several tokens with the same text, such as parts of characters, the most likely one is reported.
    """
    if token.log_probability is None:
        return None
    reported: dict[str, float] = {}
    for text, log_probability in (*token.alternatives, (token.token, token.log_probability)):
        reported.setdefault(text, log_probability)
    return reported
