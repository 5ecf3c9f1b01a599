"""The prompts of a load: the rows of evaluate's predictions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from greenllm.errors import UserError


@dataclass(frozen=True)
class PromptRow:
    """One prompt to send."""

    id: str
    prompt: str
    prompt_ids: list[int] | None = None
    """Token ids of the prompt, if a chat template made it or it spells special tokens."""
    prediction: str | None = None
    """The text that the model generated for evaluate."""


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
            rows.append(PromptRow(str(row["id"]), str(row["prompt"]), row.get("prompt_ids"), generated))
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
