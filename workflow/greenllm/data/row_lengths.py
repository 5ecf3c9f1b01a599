"""The lengths of prepared rows in tokens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from greenllm.data.pieces import pieces

ENCODED = 100_000  # characters held as tokens at once


@dataclass(frozen=True)
class RowLengths:
    """The lengths of a split's rows in tokens, each of shape (rows,); without those that the tokenizer itself adds."""

    prompts: NDArray[np.int64]
    completions: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Prompt, completion and end token; of a conversation, all that the chat template writes."""
    choices: NDArray[np.int64]
    """The longest of the choices; 0 where there are none."""
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
        return cls(prompts, completions, whole, _longest_choices(rows, tokenizer), around)

    def take(self, indices: Sequence[int]) -> Self:
        """Return the lengths of some rows."""
        some = np.array(indices, dtype=np.int64)
        return type(self)(self.prompts[some], self.completions[some], self.rows[some], self.choices[some], self.around)


def _longest_choices(rows: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the length of each row's longest choice; `choices` is a list of texts as JSON."""
    given = [json.loads(row["choices"]) if "choices" in row else [] for row in rows]
    lengths = _lengths([{"choice": choice} for choices in given for choice in choices], "choice", tokenizer)
    ends = np.cumsum([len(choices) for choices in given])
    parts = (lengths[end - len(choices) : end] for choices, end in zip(given, ends, strict=True))
    return np.array([part.max(initial=0) for part in parts], dtype=np.int64)


def _lengths(rows: Sequence[Mapping[str, Any]], column: str, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the lengths of a column's texts; a very long one is read in pieces, which may add a token for each cut."""
    found = np.zeros(len(rows), dtype=np.int64)
    held: list[tuple[int, str]] = []
    characters = 0
    for index, row in enumerate(rows):
        for piece in pieces(row[column]):
            held.append((index, piece))
            characters += len(piece)
            if characters >= ENCODED:
                _add(found, held, tokenizer)
                held, characters = [], 0
    _add(found, held, tokenizer)
    return found


def _add(found: NDArray[np.int64], held: Sequence[tuple[int, str]], tokenizer: Tokenizer) -> None:
    """Add the number of tokens of each piece to that of its row."""
    encoded = tokenizer.encode_batch_fast([piece for _, piece in held], add_special_tokens=False)
    for (index, _), tokens in zip(held, encoded, strict=True):
        found[index] += len(tokens)
