"""Checks that prompts fit into a model's context, before training and again before they are answered."""

from collections.abc import Sequence

from greenllm.errors import UserError


def require_shorter(lengths: Sequence[int], ids: Sequence[str], context: int, where: str) -> None:
    """Raise UserError if a prompt in `where` (`lengths` in tokens, `ids` of rows) is as long as a model's context."""
    long = [index for index, length in enumerate(lengths) if length >= context]
    if not long:
        return
    longest = max(long, key=lambda index: lengths[index])
    raise UserError(
        f"{where}: row {ids[longest]}: the prompt has {lengths[longest]} tokens, and the model's context of {context} "
        f"tokens must hold the answer too ({len(long)} of {len(lengths)} prompts are too long); shorten them, or train "
        "with a longer model.context"
    )
