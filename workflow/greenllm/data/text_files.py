"""Reads text files: unpacked, decoded, without the byte order mark."""

import codecs
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from greenllm.errors import UserError, quoted, reason
from greenllm.packed import first_bytes, opened

# Longer marks first: UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True)
class TextFile:
    """A text file and its encoding."""

    path: Path
    name: str  # its name in messages
    encoding: str

    @contextlib.contextmanager
    def opened(self, newline: str) -> Iterator[TextIO]:
        r"""Open the file; lines end after `"\n"` only, or after any line break (`""`), as `newline` says.

        Bytes that can't be decoded become lone surrogates, so that one bad row does not hide the others.
        Raises UserError if the file can't be read, also during reading.
        """
        try:
            with opened(self.path, self.name) as file:
                yield io.TextIOWrapper(file, encoding=self.encoding, errors="surrogateescape", newline=newline)
        except (UnicodeError, OSError) as error:
            raise UserError(
                f"{self.name}: can't be read as {self.encoding} ({reason(error)}); see data.encoding"
            ) from None


def text_file(path: Path, name: str, encoding: str, first: str) -> TextFile:
    """Return the text file at `path`; messages call its beginning `first`.

    Raises UserError if `encoding` is no text encoding, or the file begins with bytes of another one.
    """
    _require_text_encoding(encoding)
    start = first_bytes(path, name)
    known = codecs.lookup(encoding).name
    marked = next((kind for mark, kind in MARKS.items() if start.startswith(mark)), None)
    if marked is not None:
        plain = marked.removesuffix("-le").removesuffix("-be")
        if known not in (marked, plain, f"{plain}-sig"):
            raise UserError(
                f"{name}: {first} holds bytes that are not {known}: it begins with the byte order mark of {marked}; "
                f"write data.encoding: {plain}"
            )
        return TextFile(path, name, "utf-8-sig" if plain == "utf-8" else plain)  # these codecs remove the mark
    wide = _width(start)
    if wide is not None:
        if not wide.startswith(known):
            raise UserError(
                f"{name}: {first} holds bytes that are not {known}, but {wide}; write data.encoding: {wide}"
            )
        return TextFile(path, name, wide)
    if not _keeps_ascii(known) and _is_utf8(start):
        raise UserError(f"{name}: {first} is not {known}, it reads as utf-8; remove data.encoding")
    return TextFile(path, name, known)


def _keeps_ascii(encoding: str) -> bool:
    """Return whether an encoding contains ASCII, unlike wide ones and EBCDIC."""
    return b"abc".decode(encoding, "replace") == "abc"


def _is_utf8(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _width(start: bytes) -> str | None:
    """Return the wide encoding (UTF-16 or UTF-32) of a text without a mark; None if ASCII takes one byte there."""
    match [byte == 0 for byte in start[:4]]:
        case [False, True, True, True]:
            return "utf-32-le"
        case [True, True, True, False]:
            return "utf-32-be"
        case [False, True, *_]:
            return "utf-16-le"
        case [True, False, *_]:
            return "utf-16-be"
        case _:
            return None


def _require_text_encoding(encoding: str) -> None:
    try:
        sound = "a".encode(encoding).decode(encoding, "surrogateescape") == "a"
    except (LookupError, ValueError):  # unknown, no text encoding (hex), or can't skip bad bytes (idna)
        sound = False
    if not sound:
        raise UserError(
            f"data.encoding: {quoted(encoding)} is unknown or no encoding of text files; expected one such as utf-8 or "
            "latin-1"
        )
