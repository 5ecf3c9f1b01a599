"""Rows that are longer than a model's context: reported before any training, and cut, dropped or refused."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from greenllm.data.row_lengths import RowLengths
from greenllm.documents.preparation import LongRows
from greenllm.errors import UserError

Splits = Mapping[str, Sequence[Mapping[str, Any]]]
CutDropOrRefuse = Literal["cut", "drop", "refuse"]
NAMED = 1000  # rows that the report lists
SPLITS = {"train": "train on", "validation": "validate on", "test": "test on"}
SAID = {
    "cut": "training cuts them at their beginning (preprocess.long_rows: cut)",
    "drop": "dropped (preprocess.long_rows: drop)",
    "refuse": "shorten them, or cut or drop them: preprocess.long_rows",
}
CHOICES_SAID = "a choice is scored after the prompt's end, without its beginning (preprocess.long_rows: cut)"


def beyond_context(lengths: Mapping[str, RowLengths], context: int) -> dict[str, list[int]]:
    """Return the indices of the rows of each split that are too long for a context in tokens.

    A row to train or validate on must fit whole; a prompt of the test split must leave room for a token of an answer,
    and for its longest choice, whose last token is only predicted.
    """
    needed = {
        name: of.prompts + np.maximum(1, of.choices - 1) if name == "test" else of.rows for name, of in lengths.items()
    }
    return {
        name: [index for index, length in enumerate(needed[name]) if length + of.around > context]
        for name, of in lengths.items()
    }


def report_long_rows(
    splits: Splits,
    lengths: Mapping[str, RowLengths],
    long: Mapping[str, Sequence[int]],
    context: int,
    decision: CutDropOrRefuse,
    data: str,
) -> LongRows:
    """Return the report of the rows that are too long, and print a line for each split that has some.

    Raises UserError if they are refused.
    """
    for name, indices in long.items():
        if not indices:
            continue
        of = lengths[name]
        tokens = of.rows + np.maximum(0, of.choices - of.completions)
        longest = max(indices, key=lambda index: int(tokens[index]))
        line = (
            f"{data}: {len(indices):,} of {len(splits[name]):,} rows to {SPLITS[name]} are longer than the model's "
            f"context of {context} tokens (row {splits[name][longest]['id']}: {tokens[longest] + of.around} tokens)"
        )
        if decision == "refuse":
            raise UserError(f"{line}; {SAID[decision]}")
        if decision == "cut" and name == "test":
            if of.choices.any():
                print(f"{line}; {CHOICES_SAID}", file=sys.stderr)
        else:
            print(f"{line}; {SAID[decision]}", file=sys.stderr)
    return LongRows(
        context=context,
        decision=decision,
        count={name: len(indices) for name, indices in long.items()},
        rows={name: [splits[name][index]["id"] for index in indices[:NAMED]] for name, indices in long.items()},
    )
