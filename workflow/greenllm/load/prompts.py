"""The prompts of a load: the rows of evaluate's predictions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from greenllm.errors import UserError

SAMPLING = ("temperature", "top_p", "seed")


@dataclass(frozen=True)
class PromptRow:
    """One prompt to send."""

    id: str
    prompt: str
    prompt_ids: list[int] | None = None
    """Token ids of the prompt, if a chat template made it or it spells special tokens."""
    prediction: str | None = None
    """The text that the model generated for evaluate."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """`temperature`, `top_p` and `seed` of the answer; empty: greedy decoding."""


def read_prompts(path: Path) -> list[PromptRow]:
    """Return the prompts of a predictions file; raise UserError if it is empty, or a line has no id or prompt."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)  # str.splitlines would also split at characters that are allowed in JSON strings
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected the predictions of `greenllm evaluate`") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            generated = row.get("generated", row.get("prediction"))
            sampling = {key: row["sampling"][key] for key in SAMPLING} if row.get("sampling") else {}
            # Each answer to a row is a request of its own.
            id = f"{row['id']}, draw {row['draw']}" if sampling else str(row["id"])
            rows.append(PromptRow(id, str(row["prompt"]), row.get("prompt_ids"), generated, sampling))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: line {number}: expected a JSON object with the keys id and prompt") from None
    if not rows:
        raise UserError(f"{path}: is empty; expected one JSON object per line, with the keys id and prompt")
    return rows


def with_special_tokens(rows: Sequence[PromptRow], tokenizer_folder: Path) -> list[PromptRow]:
    """Return the rows with token ids for each prompt that spells a special token of this tokenizer and has no ids."""
    from greenllm.tokens import read_tokenizer, special_tokens

    tokenizer = read_tokenizer(tokenizer_folder)
    special = special_tokens(tokenizer).values()
    return [
        replace(row, prompt_ids=tokenizer.encode(row.prompt).ids)
        if row.prompt_ids is None and any(text in row.prompt for text in special)
        else row
        for row in rows
    ]
