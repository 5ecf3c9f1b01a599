"""The state of a batch that is being decoded: the answer of each row, and which rows have not ended."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from greenllm.engines import Cancelled, Completion, OnToken
from greenllm.engines.decoded_answer import DecodedAnswer
from greenllm.engines.decoding_choice import GREEDY, Decoding, ScoredText
from greenllm.engines.text import Text


class Batch:
    """The answers to prompts that are decoded together, one token per row and step."""

    def __init__(
        self,
        text: Text,
        rows: Sequence[Sequence[int]],
        max_tokens: int | Sequence[int],
        context: int,
        end: frozenset[int],
        on_token: OnToken | None,
        cancelled: Cancelled | None,
        decodings: Sequence[Decoding] | None = None,
    ) -> None:
        asked = [max_tokens] * len(rows) if isinstance(max_tokens, int) else list(max_tokens)
        if len(asked) != len(rows) or any(limit < 1 for limit in asked):
            raise ValueError(f"max_tokens {max_tokens}: expected one number, or one per prompt, of at least 1")
        self._rows = rows
        self._answers = [
            DecodedAnswer(text, min(limit, context - len(row)), decoding, end)
            for limit, row, decoding in zip(asked, rows, decodings or [GREEDY] * len(rows), strict=True)
        ]
        self._on_token = on_token
        self._cancelled = cancelled
        self.needs_logits = any(answer.decoding.needs_logits for answer in self._answers)
        """Whether a row's next token is chosen by `choose`; else each row takes the most likely one."""
        self.going = list(range(len(rows)))
        """The rows that have not ended."""

    def ids(self, index: int) -> list[int]:
        """Return a row's prompt and its answer so far, as token ids."""
        return [*self._rows[index], *self._answers[index].ids]

    def left(self) -> int:
        """Return the largest number of tokens that a row may still get."""
        return max(self._answers[index].left for index in self.going)

    def choose(self, indices: Sequence[int], logits: NDArray[np.float32]) -> list[int]:
        """Return the next token of each row of `indices`, by the logits of shape (rows, vocabulary)."""
        return [
            self._answers[index].choose(row) if index in self.going else int(row.argmax())
            for index, row in zip(indices, logits, strict=True)
        ]

    def add(
        self,
        indices: Sequence[int],
        tokens: Sequence[int],
        log_probabilities: Sequence[float] | None = None,
        logits: NDArray[np.float32] | None = None,
    ) -> None:
        """Add one token to each row of `indices`, unless the row has ended.

        Its log p (nats) is needed for the answer's confidence, the logits, of shape (rows, vocabulary), for its scores.
        """
        for place, (index, token) in enumerate(zip(indices, tokens, strict=True)):
            if index not in self.going:
                continue
            answer = self._answers[index]
            piece = answer.add(
                token,
                log_probability=None if log_probabilities is None else log_probabilities[place],
                logits=None if logits is None else logits[place],
                cancelled=self._cancelled is not None and self._cancelled(index),
                streamed=self._on_token is not None,
            )
            if answer.ended:
                self.going.remove(index)
            if self._on_token is not None and (piece or isinstance(piece, ScoredText)):
                self._on_token(index, piece)

    def completions(self) -> list[Completion]:
        """Return the answers, in the order of the prompts."""
        return [answer.completion(len(row)) for answer, row in zip(self._answers, self._rows, strict=True)]
