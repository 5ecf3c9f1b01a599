"""Scripted replies: the model names the intent of a customer, and a text that people wrote answers it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenllm.engines import Completion
from greenllm.errors import UserError

FILE = "replies.json"


@dataclass(frozen=True)
class Reply:
    """The text that a customer gets, and the reason."""

    text: str
    intent: str
    confidence: float | None
    handed_over: bool
    """Whether a person takes over."""

    def described(self) -> dict[str, Any]:
        """Return the reason for the reply, for programs."""
        return {"intent": self.intent, "confidence": self.confidence, "handed_over": self.handed_over}


class Replies(BaseModel):
    """A bundle's replies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(ge=0, le=1)
    """Least confidence at which the model's answer is used."""
    hand_over: str
    """The text for all other answers: a person takes over."""
    replies: Mapping[str, str]
    """Intent → reply. An intent without a reply is handed over."""

    def to(self, completion: Completion) -> Reply:
        """Return the reply to the intent that the model names; upper and lower case are the same."""
        texts = {_plain(intent): text for intent, text in self.replies.items()}
        intent, sure = completion.text.strip(), (completion.confidence or 0) >= self.threshold
        text = texts.get(_plain(intent)) if sure else None
        return Reply(text or self.hand_over, intent, completion.confidence, handed_over=text is None)


def read_replies(folder: Path) -> Replies | None:
    """Return the replies of a bundle, None if it has none; raise `UserError` if the file is not valid."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return Replies.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{file}: {where}: {first['msg']}; expected threshold, hand_over and replies") from None


def _plain(intent: str) -> str:
    return " ".join(intent.split()).casefold()
