"""The state of a batch that is being decoded: the tokens of each row, and which rows have not ended."""

import math
from collections.abc import Sequence

from greenllm.engines import Cancelled, Completion, OnToken
from greenllm.engines.text import Detokenizer, Text


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
    ) -> None:
        asked = [max_tokens] * len(rows) if isinstance(max_tokens, int) else list(max_tokens)
        if len(asked) != len(rows) or any(limit < 1 for limit in asked):
            raise ValueError(f"max_tokens {max_tokens}: expected one number, or one per prompt, of at least 1")
        self._rows = rows
        self._limits = [min(limit, context - len(row)) for limit, row in zip(asked, rows, strict=True)]
        self._answers = [Detokenizer(text) for _ in rows]
        self._stopped = [False] * len(rows)
        self._log_probability: dict[int, float] = {}
        self._end = end
        self._on_token = on_token
        self._cancelled = cancelled
        self.going = list(range(len(rows)))
        """The rows that have not ended."""

    def ids(self, index: int) -> list[int]:
        """Return a row's prompt and its answer so far, as token ids."""
        return [*self._rows[index], *self._answers[index].ids]

    def left(self) -> int:
        """Return the largest number of tokens that a row may still get."""
        return max(self._limits[index] - len(self._answers[index].ids) for index in self.going)

    def add(
        self, indices: Sequence[int], tokens: Sequence[int], log_probabilities: Sequence[float] | None = None
    ) -> None:
        """Add one token, and optionally its log p (nats), to each row of `indices`, unless the row has ended."""
        for place, (index, token) in enumerate(zip(indices, tokens, strict=True)):
            if index not in self.going:
                continue
            if log_probabilities is not None:
                self._log_probability[index] = self._log_probability.get(index, 0.0) + log_probabilities[place]
            answer = self._answers[index]
            self._stopped[index] = token in self._end
            piece = "" if self._stopped[index] else answer.add(token)
            full = len(answer.ids) == self._limits[index]
            ended = self._stopped[index] or full or (self._cancelled is not None and self._cancelled(index))
            if ended:
                self.going.remove(index)
            if self._on_token is not None:
                piece += answer.rest() if ended else ""
                if piece:
                    self._on_token(index, piece)

    def completions(self) -> list[Completion]:
        """Return the answers, in the order of the prompts."""
        return [
            Completion(
                answer.text,
                len(answer.ids) + stopped,
                len(row),
                "stop" if stopped else "length",
                math.exp(self._log_probability[index]) if index in self._log_probability else None,
            )
            for index, (answer, row, stopped) in enumerate(zip(self._answers, self._rows, self._stopped, strict=True))
        ]
