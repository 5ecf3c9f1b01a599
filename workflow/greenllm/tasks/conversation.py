"""A conversation: messages of a user and an assistant, perhaps after one of the system."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: Role
    content: str


def as_json(messages: Sequence[Message]) -> str:
    """Return the messages as JSON text, the form in which tables hold them."""
    return json.dumps([asdict(message) for message in messages], ensure_ascii=False)


def from_json(text: str) -> list[Message]:
    """Return the messages that `as_json` wrote."""
    return [Message(**message) for message in json.loads(text)]
