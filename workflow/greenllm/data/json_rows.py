"""Reads rows in JSON: one object per line, an array of objects, or an object that holds one such array."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.data.raw_rows import CHATS, OPTIONAL, Raw
from greenllm.data.text_files import TextFile
from greenllm.errors import UserError, listed, quoted


@dataclass(frozen=True)
class DoubledKey:
    """Read in place of an object that has one key twice."""

    key: str
    first: int
    second: int

    def __str__(self) -> str:
        return f"the key {quoted(self.key)} is there twice, as key {self.first} and key {self.second}; remove one"


def read_json_rows(file: TextFile, columns: Mapping[str, str]) -> Iterator[Raw]:
    """Yield the rows, numbered by line or by their position in an array; blank lines are skipped.

    A file that is one object is a row if it has the `columns` (ours → the file's); else it holds the rows.
    Raises UserError if the file is one array or object that can't be read as rows.
    """
    example = _example(columns)
    values = _array(file, columns)
    if values is not None:
        for number, value in enumerate(values, 1):
            yield _row(number, value, example)
        return
    # Only \n ends a line: texts may hold other separators, and a \r in them is escaped.
    with file.opened(newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                # Without the line break: else the error in a truncated line would be in a line 2.
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
        case DoubledKey():
            return Raw(number, {}, str(value))
        case list():
            kind = "list"
        case None:
            kind = "null"
        case _:
            kind = "text, number or truth value"
    return Raw(number, {}, f"a JSON {kind}, expected an object such as {example}")


def _array(file: TextFile, columns: Mapping[str, str]) -> Sequence[Any] | None:
    """Return the rows of a file that is one JSON value; None if it has one value per line."""
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
    """Return the rows in an object; an object without a list of rows is a row itself."""
    if isinstance(value, DoubledKey):
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
    """Return the keys of an object's lists of objects; if it has none, those of lists that may be meant as rows.

    These are empty lists, or the columns themselves if each is a list.
    """
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)}
    if found := [key for key, inner in lists.items() if any(isinstance(row, dict | DoubledKey) for row in inner)]:
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
    """Return a JSON value with numbers as text, as written; raise ValueError with the position if it is invalid."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=float)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        raise ValueError(f"{error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | DoubledKey:
    found = dict(pairs)
    if len(found) < len(pairs):
        places: dict[str, int] = {}
        for place, (key, _) in enumerate(pairs, 1):
            if key in places:
                return DoubledKey(key, places[key], place)
            places[key] = place
    return found
