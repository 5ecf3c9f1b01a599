"""The book-keeping of a batch that is being decoded: which rows go on, and what they have said."""

from collections.abc import Sequence

from greenllm.serving.engines import Cancelled, Completion, OnToken
from greenllm.serving.engines.text import Answer, Text


class Batch:
    """The answers to prompts that are decoded in step, one token a row at a time."""

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
            raise ValueError(f"max_tokens {max_tokens}: expected one number, or one a prompt, of at least 1")
        self._prompt_tokens = [len(row) for row in rows]
        self._limits = [min(limit, context - len(row)) for limit, row in zip(asked, rows, strict=True)]
        self._answers = [Answer(text) for _ in rows]
        self._ended: list[bool | None] = [None] * len(rows)  # None: goes on; True: by an end token
        self._end = end
        self._on_token = on_token
        self._cancelled = cancelled

    @property
    def steps(self) -> int:
        """Most tokens that any row may get."""
        return max(self._limits)

    @property
    def done(self) -> bool:
        """Whether every row has ended."""
        return None not in self._ended

    def add(self, tokens: Sequence[int]) -> None:
        """Take one token for each row; rows that have ended ignore theirs."""
        for index, token in enumerate(tokens):
            if self._ended[index] is not None:
                continue
            answer = self._answers[index]
            piece = answer.add(token)
            if token in self._end:
                self._ended[index] = True
            elif len(answer.ids) == self._limits[index] or (self._cancelled and self._cancelled(index)):
                self._ended[index] = False
            if self._on_token:
                if self._ended[index] is not None:
                    piece += answer.rest()
                if piece:
                    self._on_token(index, piece)

    def completions(self) -> list[Completion]:
        """Return the answers, in the order of the prompts."""
        return [
            Completion(answer.text, len(answer.ids), prompt_tokens, "stop" if ended else "length")
            for answer, prompt_tokens, ended in zip(
                self._answers, self._prompt_tokens, self._ended, strict=True
            )
        ]
