"""Whether a model has room for prompts: asked before anything is trained, and again where they are answered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.tokens import read_tokenizer

COLUMNS = ("id", "prompt", "prompt_ids")


def require_room(data: Path, rows: int | None, context: int) -> dict[str, Any]:
    """Return how long the longest of the first `rows` test prompts is (all where None), in tokens.

    Raises UserError where it leaves no room for an answer in a context of `context` tokens.
    """
    import pyarrow.parquet

    path = data / "test.parquet"
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected the folder that `greenllm preprocess` wrote")
    known = [name for name in COLUMNS if name in pyarrow.parquet.read_schema(path).names]
    table = pyarrow.parquet.read_table(path, columns=known).slice(0, rows)
    if "prompt_ids" in known:
        lengths = [len(ids) for ids in table["prompt_ids"].to_pylist()]
    else:
        tokenizer = read_tokenizer(data / "tokenizer")
        lengths = [len(tokenizer.encode(prompt)) for prompt in table["prompt"].to_pylist()]
    require_shorter(lengths, table["id"].to_pylist(), context, path)
    return {"rows": len(lengths), "longest_tokens": max(lengths, default=0), "context_tokens": context}


def require_shorter(lengths: Sequence[int], ids: Sequence[str], context: int, path: Path) -> None:
    """Raise UserError where one of the prompts of a file, by their tokens and ids, is as long as a context."""
    long = [index for index, length in enumerate(lengths) if length >= context]
    if not long:
        return
    longest = max(long, key=lambda index: lengths[index])
    raise UserError(
        f"{path}: row {ids[longest]}: the prompt has {lengths[longest]} tokens, and the model's context of {context} "
        f"tokens must hold the answer too ({len(long)} of {len(lengths)} prompts are too long); shorten them, or train "
        "with a longer model.context"
    )
