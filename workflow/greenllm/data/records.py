"""Rows as they are read from a source: usable ones, and bad ones with the reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenllm.config.read import nearest
from greenllm.errors import UserError

BAD_BYTES = "bytes that are not {}; save the file as UTF-8 or name its encoding, as in data.encoding: latin-1"


@dataclass(frozen=True)
class BadRow:
    """A row that can't be used, as the card and the reports name it."""

    file: str
    row: int  # counted from 1; a CSV file's header is not counted
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: row {self.row}: {self.reason}"


@dataclass(frozen=True)
class Raw:
    """A row as its file has it; `problem` says what was wrong with it, where nothing could be read."""

    row: int
    values: Mapping[str, Any]
    problem: str | None = None


def mapped(
    raws: Iterable[Raw], file: str, columns: Mapping[str, str], encoding: str
) -> Iterator[dict[str, Any] | BadRow]:
    """Pick `columns` (ours → the file's) of each row, as text, with its number as `row`.

    A row without one of them, or with something else than text in it, comes out as a BadRow.
    """
    for raw in raws:
        problem = raw.problem
        picked: dict[str, Any] = {"row": raw.row}
        for ours, theirs in columns.items():
            if problem is None:
                try:
                    picked[ours] = _text(_value(raw.values, theirs), theirs, encoding)
                except ValueError as error:
                    problem = str(error)
        yield picked if problem is None else BadRow(file, raw.row, problem)


def check_columns(file: str, names: Sequence[str], columns: Mapping[str, str]) -> None:
    """Raise UserError where the table `file` lacks a column that `columns` (ours → the file's) asks for."""
    for ours, theirs in columns.items():
        if theirs not in names:
            raise UserError(
                f"{file}: no column {theirs!r}{nearest(theirs, list(names))}; say which one is the {ours}: "
                f"data.columns: {{{ours}: NAME}}"
            )


def has_bad_bytes(text: str) -> bool:
    """Return whether some bytes were no text in the file's encoding; they were read as lone surrogates."""
    return any("\udc80" <= character <= "\udcff" for character in text)


def _value(values: Mapping[str, Any], name: str) -> Any:
    if name in values:
        return values[name]
    raise ValueError(f"no {name!r} (it has {', '.join(map(repr, values)) or 'nothing'}); see data.columns")


def _text(value: Any, name: str, encoding: str) -> str:
    match value:
        case None:
            raise ValueError(f"{name!r} is null, expected text")
        case str():
            if has_bad_bytes(value):
                raise ValueError(f"{name!r} holds {BAD_BYTES.format(encoding)}")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError(f"{name!r} holds half a character (a lone surrogate), expected text")
            return value
        case bool() | int() | float():
            return str(value)
        case _:
            raise ValueError(f"{name!r} is a {type(value).__name__}, expected text")
