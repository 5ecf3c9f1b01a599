"""Rows in JSON: an object a line, an array of objects, or an object with one such array in it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.data.raw_rows import CHATS, OPTIONAL, Raw
from greenllm.data.text_files import TextFile
from greenllm.errors import UserError, listed, quoted


@dataclass(frozen=True)
class Twice:
    """What is read for an object that has one key twice."""

    key: str
    first: int
    second: int

    def __str__(self) -> str:
        return f"the key {quoted(self.key)} is there twice, as key {self.first} and key {self.second}; remove one"


def read_json_rows(file: TextFile, columns: Mapping[str, str]) -> Iterator[Raw]:
    """Yield the rows, numbered by their lines or, in an array, by their place; blank lines are no rows.

    A file that is one object is a row where it has the `columns` (ours → the file's), else it holds the rows.
    Raises UserError where the file is one array or object and can't be read as rows.
    """
    example = _example(columns)
    values = _array(file, columns)
    if values is not None:
        for number, value in enumerate(values, 1):
            yield _row(number, value, example)
        return
    # Only \n ends a line: other separators may be in its texts, and a \r in them is escaped.
    with file.opened(newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                # Without its end: else a line cut short is at fault in a line 2.
                yield _row(number, _loads(line.rstrip("\r\n")), example)
            except ValueError as error:
                yield Raw(number, {}, f"not valid JSON ({error}); expected one object such as {example} a line")


def _example(columns: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(theirs, ensure_ascii=False)}: …" for theirs in _needed(columns)) + "}"


def _needed(columns: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(theirs for ours, theirs in columns.items() if ours not in OPTIONAL))


def _row(number: int, value: Any, example: str) -> Raw:
    match value:
        case dict():
            return Raw(number, value)
        case Twice():
            return Raw(number, {}, str(value))
        case list():
            kind = "list"
        case None:
            kind = "null"
        case _:
            kind = "text, number or truth value"
    return Raw(number, {}, f"a JSON {kind}, expected an object such as {example}")


def _array(file: TextFile, columns: Mapping[str, str]) -> Sequence[Any] | None:
    """Return the rows of a file that is one JSON value; None where it has one a line."""
    with file.opened(newline="\n") as lines:
        first = next((line for line in lines if line.strip()), "").strip()
        one_line = not any(line.strip() for line in lines)
    if not first.startswith(("[", "{")):
        return None
    if not one_line and first.startswith("{") and _is_json(first):
        return None
    with file.opened(newline="\n") as lines:
        text = lines.read()
    try:
        value = _loads(text)
    except ValueError as error:
        if first.startswith("{") or str(error).startswith("Extra data"):
            return None
        raise UserError(f"{file.name}: not valid JSON ({error}); expected an array of objects") from None
    return value if isinstance(value, list) else _inside(value, file.name, columns)


def _inside(value: Any, name: str, columns: Mapping[str, str]) -> Sequence[Any]:
    """Return the rows within an object, which is a row itself where it holds no list of them."""
    if isinstance(value, Twice):
        return [value]
    needed = _needed(columns)
    if all(theirs in value and not isinstance(value[theirs], list) for theirs in needed):
        return [value]
    lists = _lists(value, needed)
    if set(lists) & set(CHATS):
        return [value]
    if len(lists) > 1:
        raise UserError(
            f"{name}: an object with several lists ({listed(lists)}); expected an array of rows such as "
            f"{_example(columns)}: put one such array into a file of its own"
        )
    return value[lists[0]] if lists else [value]


def _lists(value: Mapping[str, Any], needed: Sequence[str]) -> list[str]:
    """Return the keys of an object's lists of objects; where there are none, those of lists that may be of rows.

    These are empty ones, and the columns themselves where each is a list.
    """
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)}
    if found := [key for key, inner in lists.items() if any(isinstance(row, dict | Twice) for row in inner)]:
        return found
    if all(theirs in lists for theirs in needed):
        return list(needed) if len(needed) > 1 else []
    return [] if any(theirs in value for theirs in needed) else [key for key, inner in lists.items() if not inner]


def _is_json(text: str) -> bool:
    try:
        _loads(text)
    except ValueError:
        return False
    return True


def _loads(text: str) -> Any:
    """Return a JSON value with its numbers as they are written; raise ValueError, with the place, where it is none."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=float)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        raise ValueError(f"{error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Twice:
    found = dict(pairs)
    if len(found) < len(pairs):
        places: dict[str, int] = {}
        for place, (key, _) in enumerate(pairs, 1):
            if key in places:
                return Twice(key, places[key], place)
            places[key] = place
    return found
