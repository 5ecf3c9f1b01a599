"""Prompts and conversations in a model's chat template, the form on which instruct models were trained."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from greenllm.engines import Prompt, PromptError
from greenllm.engines.text import Text
from greenllm.errors import UserError
from greenllm.tasks.conversation import Message


@dataclass(frozen=True)
class RenderedConversation:
    """A conversation as a chat template writes it: whole, and up to the assistant's last turn."""

    prompt: Prompt
    ids: list[int]
    turns: list[tuple[int, int]]
    """Spans (start, end) of the assistant's turns in `ids`."""


class PromptTemplate:
    """A model's chat template, with the system message that precedes each prompt (None: no message).

    Only the ids of its results hold the template's special tokens; their texts merely spell them. If template and
    tokenizer both begin a text with the same token, the template's is left out.
    """

    def __init__(self, model: Path, system: str | None) -> None:
        """Raises UserError if the model has no chat template, or its template refuses a message."""
        self._text = Text(model)
        self._system = [] if system is None else [Message("system", system)]
        # The beginning of a text depends only on template and tokenizer, so one prompt shows it for all.
        try:
            probe = self._whole([Message("user", "x")])
        except PromptError as error:
            raise UserError(f"model.chat: {model}: {error}") from None
        doubled = len(self._text.prompt_ids(probe)) < len(probe.ids)
        self._first = (self._text.token("bos_token") or "") if doubled else ""

    def prompt(self, text: str) -> Prompt:
        """Return a prompt as the user's message; raise PromptError if the template refuses it."""
        return self._trimmed(self._whole([Message("user", text.rstrip("\n"))]))

    def conversation(self, messages: Sequence[Message]) -> RenderedConversation:
        """Return a conversation; a system message of its own replaces that of all.

        Raises PromptError if the template refuses it or doesn't keep its turns apart.
        """
        prompt = self._trimmed(self._whole(messages[:-1]))
        found = self._text.conversation([asdict(message) for message in self._with_system(messages)])
        return RenderedConversation(prompt, found.ids, found.turns)

    def _whole(self, messages: Sequence[Message]) -> Prompt:
        return self._text.chat_prompt([asdict(message) for message in self._with_system(messages)])

    def _trimmed(self, whole: Prompt) -> Prompt:
        return Prompt(whole.removeprefix(self._first), self._text.prompt_ids(whole))

    def _with_system(self, messages: Sequence[Message]) -> list[Message]:
        return [*messages] if messages[0].role == "system" else [*self._system, *messages]
