"""The lengths of prepared rows in tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

ENCODED = 1000  # rows held as tokens at once: they take a hundred times the memory of a text


@dataclass(frozen=True)
class RowLengths:
    """The lengths of a split's rows in tokens, each of shape (rows,); without those that the tokenizer itself adds."""

    prompts: NDArray[np.int64]
    completions: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Prompt, completion and end token; of a conversation, all that the chat template writes."""
    around: int
    """Number of tokens that the tokenizer adds around a text."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> Self:
        """Return the lengths of prepared rows: `prompt`, `completion`, and the ids that a chat template made."""
        around = tokenizer.num_special_tokens_to_add(is_pair=False)
        completions = _lengths(rows, "completion", tokenizer)
        if rows and "prompt_ids" in rows[0]:
            prompts = np.array([len(row["prompt_ids"]) - around for row in rows], dtype=np.int64)
        else:
            prompts = _lengths(rows, "prompt", tokenizer)
        if rows and "ids" in rows[0]:
            whole = np.array([len(row["ids"]) - around for row in rows], dtype=np.int64)
        else:
            whole = prompts + completions + 1
        return cls(prompts, completions, whole, around)

    def take(self, indices: Sequence[int]) -> Self:
        """Return the lengths of some rows."""
        some = np.array(indices, dtype=np.int64)
        return type(self)(self.prompts[some], self.completions[some], self.rows[some], self.around)


def _lengths(rows: Sequence[Mapping[str, Any]], column: str, tokenizer: Tokenizer) -> NDArray[np.int64]:
    found: list[int] = []
    for start in range(0, len(rows), ENCODED):
        texts = [row[column] for row in rows[start : start + ENCODED]]
        found += map(len, tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    return np.array(found, dtype=np.int64)
