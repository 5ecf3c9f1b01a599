"""One answer as it is decoded: its text and tokens so far, and whether it has ended."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from greenllm.engines import Completion
from greenllm.engines.decoding_choice import Decoding, ScoredText, ScoredToken
from greenllm.engines.stop_strings import StopStrings
from greenllm.engines.text import Detokenizer, Text
from greenllm.engines.token_choice import TokenChoice, score


class DecodedAnswer:
    """The answer to one prompt, of at most `limit` tokens, token by token."""

    def __init__(self, text: Text, limit: int, decoding: Decoding, end: frozenset[int]) -> None:
        self.decoding = decoding
        self.ended = False
        self._text, self._limit, self._end = text, limit, end
        self._pieces = Detokenizer(text)
        self._finish: Literal["stop", "length"] = "length"
        self._end_token = False
        self._log_probability: float | None = None
        self._choice = TokenChoice(decoding, end) if decoding.needs_logits else None
        self._stop = StopStrings(decoding.stop) if decoding.stop else None
        self._shown: list[str] = []  # with stop strings: the text up to the first of them
        self._length = 0  # of the text that is shown, in characters
        self._scored: list[ScoredToken] = []
        self._reported = 0  # scored tokens that belong to shown text

    @property
    def ids(self) -> list[int]:
        """Token ids so far, without the end token."""
        return self._pieces.ids

    @property
    def left(self) -> int:
        """The largest number of tokens that the answer may still get."""
        return self._limit - len(self._pieces.ids)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """Return the next token's id, by the logits of shape (vocabulary,)."""
        return int(logits.argmax()) if self._choice is None else self._choice.choose(logits)

    def add(
        self,
        token: int,
        *,
        log_probability: float | None,
        logits: NDArray[np.float32] | None,
        cancelled: bool,
        streamed: bool,
    ) -> str:
        """Add a token, of this log p (nats) and chosen by these logits; return the text to show, if it is streamed."""
        if log_probability is not None:
            self._log_probability = (self._log_probability or 0.0) + log_probability
        self._end_token = token in self._end
        piece = ""
        if self._end_token:
            self._finish = "stop"
        else:
            if logits is not None and self.decoding.alternatives is not None:
                self._scored.append(self._scored_token(token, logits, self.decoding.alternatives))
            piece = self._pieces.add(token)
        self.ended = self._end_token or cancelled or self.left == 0
        if not streamed and self._stop is None:
            return ""
        if self.ended:
            piece += self._pieces.rest()
        if self._stop is not None:
            piece = self._until_stop(self._stop, piece)
        self._length += len(piece)
        return piece if self.decoding.alternatives is None else self._with_tokens(piece)

    def completion(self, prompt_tokens: int) -> Completion:
        """Return the whole answer."""
        text = self._pieces.text if self._stop is None else "".join(self._shown)
        return Completion(
            text,
            len(self.ids) + self._end_token,
            prompt_tokens,
            self._finish,
            None if self._log_probability is None else math.exp(self._log_probability),
            None if self.decoding.alternatives is None else tuple(self._scored[: self._within(len(text))]),
        )

    def _until_stop(self, stop: StopStrings, piece: str) -> str:
        piece = stop.add(piece)
        if stop.found:
            self.ended, self._finish = True, "stop"
        elif self.ended:
            piece += stop.rest()
        self._shown.append(piece)
        return piece

    def _with_tokens(self, piece: str) -> str:
        """Return a piece of text with the tokens that began it and are not reported yet."""
        first, self._reported = self._reported, self._within(self._length)
        tokens = self._scored[first : self._reported]
        return ScoredText(piece, tokens) if tokens else piece

    def _within(self, length: int) -> int:
        """Return the number of scored tokens that began in a text's first `length` characters.

        All of them where no stop string has cut the text, also those that end inside a character.
        """
        if self.ended and not (self._stop is not None and self._stop.found):
            return len(self._scored)
        return sum(token.begins < length for token in self._scored)

    def _scored_token(self, token: int, logits: NDArray[np.float32], alternatives: int) -> ScoredToken:
        return scored_token(self._text, token, logits, alternatives, begins=self._pieces.length)


def scored_token(text: Text, token: int, logits: NDArray[np.float32], alternatives: int, *, begins: int) -> ScoredToken:
    """Return a token with its score by the logits of shape (vocabulary,), and this number of most likely tokens."""
    scored = score(logits, token, alternatives)
    return ScoredToken(
        text.token_text(token),
        scored.log_probability,
        begins,
        tuple((text.token_text(id), log_probability) for id, log_probability in scored.alternatives),
    )
