"""Orders on standard input: one JSON object a line, by which one process has another one work."""

import json
from collections.abc import Callable
from typing import TypeVar

from greenllm.errors import UserError, quoted

Order = TypeVar("Order")


def read_order(line: str, kind: Callable[..., Order], is_valid: Callable[[Order], bool], example: str) -> Order:
    """Return the order of a line. Raises UserError, with an example, if it is none of the kind or not valid."""
    try:
        order = kind(**json.loads(line))
        if is_valid(order):
            return order
    except (ValueError, TypeError):
        pass
    raise UserError(f"standard input: {quoted(line.strip())} is not an order; expected JSON such as {example}")
