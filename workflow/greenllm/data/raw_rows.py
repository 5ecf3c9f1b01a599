"""Rows as they are read from a source: usable ones, and bad ones with the reason."""

import datetime
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.config.read import nearest
from greenllm.documents.card import BadRow
from greenllm.errors import UserError, listed, quoted

OPTIONAL = ("group", "subset", "reply")  # columns that are read where data.columns names them, and may be empty
CHATS = ("messages", "conversations")  # columns in which others publish chats, a list of turns each
BAD_BYTES = "bytes that are not {}; save the file as UTF-8 or name its encoding, as in data.encoding: latin-1"


@dataclass(frozen=True)
class Raw:
    """A row as its file has it; `problem` says what was wrong with it, where nothing could be read."""

    row: int
    values: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Unreadable:
    """What is read for a cell of a typed table whose value Python can't hold; `kind` is Arrow's name of its type."""

    kind: str


def mapped(
    raws: Iterable[Raw], file: str, columns: Mapping[str, str], encoding: str
) -> Iterator[dict[str, Any] | BadRow]:
    """Pick `columns` (ours → the file's) of each row, as text, with its number as `row`.

    A row without one of them, or with something else than text in it, comes out as a BadRow; one of `OPTIONAL` may be
    missing, null or empty, which are one and the same. Raises UserError where no row has such a column at all.
    """
    unseen = {ours: theirs for ours, theirs in columns.items() if ours in OPTIONAL}
    names: list[str] = []
    for raw in raws:
        problem = raw.problem
        if problem is None:
            names = list(raw.values)
            unseen = {ours: theirs for ours, theirs in unseen.items() if theirs not in raw.values}
        picked: dict[str, Any] = {"row": raw.row}
        for ours, theirs in columns.items():
            if problem is None:
                try:
                    if ours in OPTIONAL:
                        picked[ours] = _text_or_nothing(raw.values.get(theirs), theirs, encoding)
                    else:
                        picked[ours] = _text(_value(raw.values, theirs), theirs, encoding)
                except ValueError as error:
                    problem = str(error)
        yield picked if problem is None else BadRow(file, raw.row, problem)
    if names:
        check_columns(file, names, unseen)


def check_columns(file: str, names: Sequence[str], columns: Mapping[str, str], hint: str = "") -> None:
    """Raise UserError where the table `file` has a column twice or lacks one that `columns` (ours → its) asks for.

    `hint` follows what is said of a missing column.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if name and name in places:  # spreadsheets leave columns without a name at the end
            raise UserError(
                f"{file}: the column {quoted(name)} is there twice, as column {places[name]} and column {place}; "
                "rename or remove one of them"
            )
        places[name] = place
    for ours, theirs in columns.items():
        if theirs not in names:
            raise UserError(
                f"{file}: no column {quoted(theirs)}{nearest(theirs, list(names))}; say which one is the {ours}: "
                f"data.columns: {{{ours}: NAME}}{hint}"
            )


def has_bad_bytes(text: str) -> bool:
    """Return whether some bytes were no text in the file's encoding; they were read as lone surrogates."""
    return any("\udc80" <= character <= "\udcff" for character in text)


def _value(values: Mapping[str, Any], name: str) -> Any:
    if name in values:
        return values[name]
    if chat := next((key for key in CHATS if isinstance(values.get(key), list)), None):
        raise ValueError(
            f"no {name!r}, but a chat ({chat!r}); chats are not read: write what is asked and what is answered into "
            "columns of their own"
        )
    raise ValueError(f"no {name!r} (it has {listed(list(values)) or 'nothing'}); see data.columns")


def _text_or_nothing(value: Any, name: str, encoding: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = _text(value, name, encoding)
    return text if text.strip() else ""


def _text(value: Any, name: str, encoding: str) -> str:
    """Return a cell as text; raise ValueError, with the reason, where it is missing or has no text.

    - What its source calls missing is missing here: null, and NaN, which is how pandas marks it.
    - A number or truth value is text as its source writes it: in JSON as it is in the file (`1.0`, `1e3`, `true`), in
      typed tables, which hold no text of it, as Arrow writes it (see `arrow_rows`; `1` for 1.0, `true`).
    - A date or time is text as ISO 8601 has it, with a blank between both; bytes are text where they are UTF-8.
    - Anything else, such as Infinity or a list, has no text.
    - The text `nan`, in quotes or in a CSV file, is a text like any other.
    """
    match value:
        case None:
            raise ValueError(f"{name!r} is null, expected text")
        case str():
            if has_bad_bytes(value):
                raise ValueError(f"{name!r} holds {BAD_BYTES.format(encoding)}")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError(f"{name!r} holds half a character (a lone surrogate), expected text")
            return value
        case bool():
            return "true" if value else "false"
        case float():
            kind = "NaN (missing)" if math.isnan(value) else "infinite"
            raise ValueError(f"{name!r} is {kind}, expected text")
        case datetime.date() | datetime.time():
            return str(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise ValueError(f"{name!r} is bytes that are not UTF-8, expected text") from None
        case list():
            raise ValueError(f"{name!r} is a list, expected text")
        case dict():
            raise ValueError(f"{name!r} is an object, expected text")
        case Unreadable():
            raise ValueError(f"{name!r} is a {value.kind} that can't be read (out of range or damaged), expected text")
        case _:
            raise ValueError(f"{name!r} is a {type(value).__name__}, expected text")
