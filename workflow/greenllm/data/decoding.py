"""Text files: unpacked, decoded, without the byte order mark."""

import codecs
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from greenllm.errors import UserError, quoted, reason
from greenllm.packed import first_bytes, opened

# The longer ones first: that of UTF-32 begins as that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class TextFile:
    """A text file that can be opened."""

    path: Path
    name: str  # what messages call it
    encoding: str

    @contextlib.contextmanager
    def opened(self, newline: str) -> Iterator[TextIO]:
        r"""Open it; lines end as `newline` says: after `"\n"` alone, or after any line break (`""`).

        Bytes that are no text become lone surrogates, so that one bad row does not hide the others.
        Raises UserError where it can't be read, also while it is read.
        """
        try:
            with opened(self.path, self.name) as file:
                yield io.TextIOWrapper(file, encoding=self.encoding, errors="surrogateescape", newline=newline)
        except (UnicodeError, OSError) as error:
            raise UserError(
                f"{self.name}: can't be read as {self.encoding} ({reason(error)}); see data.encoding"
            ) from None


def text_file(path: Path, name: str, encoding: str, first: str) -> TextFile:
    """Return the text file at `path`; `first` is what messages call its beginning.

    Raises UserError where `encoding` is no text encoding, or the file's byte order mark is that of another one.
    """
    _require_text_encoding(encoding)
    start = first_bytes(path, name)
    marked = next((kind for mark, kind in MARKS.items() if start.startswith(mark)), None)
    known = codecs.lookup(encoding).name
    if marked is not None and known.startswith(marked.removesuffix("-sig")):
        return TextFile(path, name, marked)  # these codecs alone take the mark away
    wide = marked if marked in ("utf-16", "utf-32") else _width(start)
    if wide is not None and known in ("utf-8", "utf-8-sig"):
        raise UserError(f"{name}: {first} holds bytes that are not utf-8, but {wide}; name it: data.encoding: {wide}")
    return TextFile(path, name, known)


def _width(start: bytes) -> str | None:
    """Return the encoding of a text without a mark whose first character is ASCII and wider than a byte."""
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
    except (LookupError, ValueError):  # unknown, no text encoding (hex), or one that can't skip bad bytes (idna)
        sound = False
    if not sound:
        raise UserError(
            f"data.encoding: {quoted(encoding)} is unknown or no encoding of text files; expected one such as utf-8 or "
            "latin-1"
        )
