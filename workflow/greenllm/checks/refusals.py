"""From functions that raise at a user's mistake to lists of problems, so that one check reports all mistakes."""

from collections.abc import Callable

from greenllm.errors import UserError


def refusals(check: Callable[..., object], *arguments: object) -> list[str]:
    """Return the message of the UserError that `check(*arguments)` raises; an empty list if it raises none."""
    try:
        check(*arguments)
    except UserError as error:
        return [str(error)]
    return []
