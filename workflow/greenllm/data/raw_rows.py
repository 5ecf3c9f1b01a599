"""Rows read from a source: usable ones as text, and bad ones with the reason."""

import datetime
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.config.read import nearest
from greenllm.documents.card import BadRow
from greenllm.errors import UserError, listed, quoted

OPTIONAL = ("group", "subset", "reply")  # columns that are read only if data.columns names them; may be empty
LISTS = ("choices",)  # columns of several texts; in a file of text, such as CSV, a list as JSON
CHATS = ("messages", "conversations")  # columns in which chats are published, a list of turns each
BAD_BYTES = "bytes that are not {}; save the file as UTF-8 or name its encoding, as in data.encoding: latin-1"


@dataclass(frozen=True)
class Raw:
    """A row as its file has it; `problem` is the reason if it could not be read."""

    row: int
    values: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Unreadable:
    """Read in place of a typed table's cell that Python can't represent; `kind` is Arrow's name of its type."""

    kind: str


def mapped(
    raws: Iterable[Raw], file: str, columns: Mapping[str, str], encoding: str
) -> Iterator[dict[str, Any] | BadRow]:
    """Yield `columns` (ours → the file's) of each row as text, with its number as `row`.

    A row that lacks a column, or has no text in it, is yielded as a BadRow. Columns in `OPTIONAL` may be missing, null
    or empty, which all mean the same. Raises UserError if no row at all has such a column.
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
                    elif ours in LISTS:
                        picked[ours] = _texts(_value(raw.values, theirs), theirs, encoding)
                    else:
                        picked[ours] = text_of(_value(raw.values, theirs), theirs, encoding)
                except ValueError as error:
                    problem = str(error)
        yield picked if problem is None else BadRow(file, raw.row, problem)
    if names:
        check_columns(file, names, unseen)


def check_columns(file: str, names: Sequence[str], columns: Mapping[str, str], hint: str = "") -> None:
    """Raise UserError if the table `file` has a column twice or lacks one of `columns` (ours → the file's).

    `hint` is added to the message about a missing column.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if name and name in places:  # spreadsheets may leave unnamed columns at the end
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
    """Return whether `text` holds bytes that could not be decoded, which are read as lone surrogates."""
    return any("\udc80" <= character <= "\udcff" for character in text)


def _value(values: Mapping[str, Any], name: str) -> Any:
    if name in values:
        return values[name]
    if chat := next((key for key in CHATS if isinstance(values.get(key), list)), None):
        raise ValueError(
            f"no {name!r}, but a chat ({chat!r}), which the task chat reads: use it, or write prompts and answers into "
            "separate columns"
        )
    raise ValueError(f"no {name!r} (it has {listed(list(values)) or 'nothing'}); see data.columns")


def _text_or_nothing(value: Any, name: str, encoding: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = text_of(value, name, encoding)
    return text if text.strip() else ""


def _texts(value: Any, name: str, encoding: str) -> str:
    """Return a list of texts as JSON; a text is left as it is. Raises ValueError, as `text_of` does."""
    if not isinstance(value, list):
        return text_of(value, name, encoding)
    texts = [
        str(item) if type(item) is int else text_of(item, f"{name}[{i}]", encoding) for i, item in enumerate(value)
    ]
    return json.dumps(texts, ensure_ascii=False)


def text_of(value: Any, name: str, encoding: str) -> str:
    """Return a cell as text; raise ValueError, with the reason, if it is missing or can't be text.

    - Null is missing, and so is NaN, by which pandas marks missing values.
    - A number or truth value keeps its source's spelling: in JSON that of the file (`1.0`, `1e3`, `true`); in typed
      tables, which hold no text, that of Arrow (see `arrow_rows`; `1` for 1.0, `true`).
    - A date or time is written as in ISO 8601, with a space between them; bytes are text if they are UTF-8.
    - Anything else, such as Infinity or a list, can't be text.
    - The text `nan`, in quotes or in a CSV file, is ordinary text.
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
