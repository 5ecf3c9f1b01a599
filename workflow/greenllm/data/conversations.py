"""Conversations as people publish them: OpenAI's, ShareGPT's and Alpaca's forms, prompts with completions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from greenllm.data.raw_rows import Raw, text_of
from greenllm.errors import UserError, listed, quoted
from greenllm.tasks.conversation import Message, Role, as_json

# Columns of each form: those that it needs; the first one names it.
FORMS = (("messages",), ("conversations",), ("instruction", "output"), ("prompt", "completion"))
BESIDE = ("system", "input")  # columns that a form may have, too
ROLES: Mapping[str, Role] = {
    "human": "user",
    "gpt": "assistant",
    **{role: role for role in get_args(Role)},
    "developer": "system",  # OpenAI's newer name of it
}
TOOL_ROLES = ("tool", "function", "function_call", "observation")
TOOL_KEYS = ("tool_calls", "function_call")
TOOL_COLUMNS = ("tools", "functions")
IMAGE_COLUMNS = ("image", "images")
NO_TOOLS = "tools are not supported: leave such conversations out"
NO_IMAGES = "only text is supported: leave such conversations out"


@dataclass(frozen=True)
class ConversationForm:
    """The form of a file's conversations; `columns` are ours → the file's.

    `named` are those beside the needed ones that `data.columns` names: at least one row must have each.
    """

    file: str
    needed: tuple[str, ...]
    columns: Mapping[str, str]
    encoding: str
    named: tuple[str, ...]

    def messages(self, row: Mapping[str, Any]) -> list[Message]:
        """Return a row's messages; raise ValueError with the reason if they are no conversation to learn from."""
        for ours in self.needed:
            if self.columns[ours] not in row:
                raise ValueError(
                    f"no {self.columns[ours]!r} as in the file's first row (it has {listed(list(row)) or 'nothing'}); "
                    "expected one form of conversations in a file"
                )
        if any(row.get(key) for key in TOOL_COLUMNS):
            raise ValueError(f"it offers tools; {NO_TOOLS}")
        if any(row.get(key) for key in IMAGE_COLUMNS):
            raise ValueError(f"it has an image; {NO_IMAGES}")
        found = [*self._system(row), *self._turns(row)]
        _require_answered(found)
        return found

    def _system(self, row: Mapping[str, Any]) -> list[Message]:
        text = self._optional(row, "system")
        return [Message("system", text)] if text else []

    def _turns(self, row: Mapping[str, Any]) -> Iterator[Message]:
        if len(self.needed) == 1:
            yield from self._listed(row[self.columns[self.needed[0]]])
            return
        asked, answered = (row[self.columns[ours]] for ours in self.needed)
        if isinstance(asked, list) and isinstance(answered, list):
            yield from self._listed([*asked, *answered])
            return
        question = text_of(asked, self.columns[self.needed[0]], self.encoding)
        more = self._optional(row, "input") if self.needed[0] == "instruction" else ""
        yield Message("user", f"{question}\n\n{more}" if more else question)
        yield Message("assistant", text_of(answered, self.columns[self.needed[1]], self.encoding))

    def _optional(self, row: Mapping[str, Any], name: str) -> str:
        value = row.get(self.columns.get(name, name))
        return "" if value is None else text_of(value, name, self.encoding).strip()

    def _listed(self, value: Any) -> Iterator[Message]:
        if not isinstance(value, list) or not value:
            raise ValueError(f"its {self.needed[0]} are not a list of messages; expected objects with role and content")
        for number, message in enumerate(value, 1):
            if not isinstance(message, Mapping):
                raise ValueError(f"message {number} is not an object; expected one with role and content")
            yield Message(*self._said(message, number))

    def _said(self, message: Mapping[str, Any], number: int) -> tuple[Role, str]:
        """Return role and text of a message, of either form: role and content, or from and value."""
        role = message.get("role", message.get("from"))
        if role in TOOL_ROLES or any(message.get(key) for key in TOOL_KEYS):
            raise ValueError(f"message {number} calls a tool or is its result; {NO_TOOLS}")
        if not isinstance(role, str) or role not in ROLES:
            raise ValueError(f"message {number} has the role {quoted(str(role))}; expected {', '.join(ROLES)}")
        content = message.get("content", message.get("value"))
        if isinstance(content, list):  # parts, as in OpenAI's form
            for part in content:
                kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
                if kind != "text":
                    raise ValueError(f"message {number} has a part of type {quoted(str(kind))}; {NO_IMAGES}")
                if not isinstance(part.get("text"), str):
                    raise ValueError(f"message {number} has a part whose text is no text")
            content = "".join(part["text"] for part in content)
        weight = message.get("weight")  # of OpenAI's form: 0 is not to be learned; read from JSON it is a text
        if weight is not None and str(weight) not in ("1", "1.0"):
            raise ValueError(f"message {number} has a weight; expected none: all turns of the assistant are learned")
        return ROLES[role], text_of(content, f"the content of message {number}", self.encoding)


def form_of(names: Sequence[str], given: Mapping[str, str], file: str, encoding: str) -> ConversationForm:
    """Return the form of the conversations in a file with the columns `names`; `given` is `data.columns`.

    Raises UserError if the columns have no such form, or several of which `given` names none.
    """
    chosen = [form for form in FORMS if set(form) & set(given)] or list(FORMS)
    found = [form for form in chosen if all(given.get(ours, ours) in names for ours in form)]
    forms = "; ".join(" and ".join(form) for form in (found or FORMS))
    if not found:
        raise UserError(
            f"{file}: no conversations: it has {listed(list(names)) or 'nothing'}; expected the columns of one of "
            f"these forms: {forms}; see data.columns"
        )
    if len(found) > 1:
        raise UserError(
            f"{file}: conversations in several forms: {forms}; name the column of one, as in "
            f"data.columns: {{{found[0][0]}: {found[0][0]}}}"
        )
    named = tuple(ours for ours in BESIDE if ours in given)
    columns = {ours: given.get(ours, ours) for ours in (*found[0], *BESIDE)}
    read = {ours: theirs for ours, theirs in columns.items() if ours in (*found[0], *named) or theirs in names}
    return ConversationForm(file, found[0], read, encoding, named)


def as_messages(raws: Iterable[Raw], form: ConversationForm) -> Iterator[Raw]:
    """Yield each row with its conversation as JSON text in `messages`, or with the reason why it is unusable.

    Raises UserError if no row at all has a column that `data.columns` names.
    """
    unseen = {ours: form.columns[ours] for ours in form.named}
    for raw in raws:
        if raw.problem is not None:
            yield raw
            continue
        unseen = {ours: theirs for ours, theirs in unseen.items() if theirs not in raw.values}
        try:
            yield Raw(raw.row, {**raw.values, "messages": as_json(form.messages(raw.values))})
        except ValueError as error:
            yield Raw(raw.row, raw.values, str(error))
    for ours, theirs in unseen.items():
        raise UserError(f"{form.file}: no row has {theirs!r}, named in data.columns for {ours}; correct or remove it")


def _require_answered(messages: Sequence[Message]) -> None:
    """Raise ValueError unless the user begins and the assistant ends."""
    said = [message.role for message in messages if message.role != "system"]
    if "assistant" not in said:
        raise ValueError("no message of the assistant; expected an answer to learn")
    if messages[-1].role != "assistant":
        raise ValueError(f"the last message is the {messages[-1].role}'s; expected the assistant's answer there")
    if said[0] != "user":
        raise ValueError("the first message is the assistant's; expected the user's")
