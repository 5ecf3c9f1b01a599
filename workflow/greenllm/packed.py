"""Compressed files (gzip, bzip2, xz, zstd, zip), recognised by their first bytes."""

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

import pyarrow as pa

from greenllm.errors import UserError, listed, reason

ENDINGS = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd", ".zip")
PACKINGS = {
    b"\x1f\x8b\x08": "gzip",
    **{b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)},
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
UNREAD = {  # kinds of file that users give as data but that are not read, by their first bytes
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook; save it as CSV UTF-8 there",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!\x1a\x07": "a RAR archive; unpack it",
    b"PK\x05\x06": "an empty zip archive",
    b"\x04\x22\x4d\x18": "packed by lz4; unpack it",
    b"\xff\x06\x00\x00sNaPpY": "packed by snappy; unpack it",
    b"LZIP\x01": "packed by lzip; unpack it",
    b"\x5d\x00\x00": "packed by lzma; unpack it",
    b"\x1f\x9d": "packed by compress; unpack it",
    b"ARROW1\x00\x00": "an Arrow file; save it as Parquet",
    b"\xff\xff\xff\xff": "an Arrow stream; save it as Parquet",
    b"FEA1": "a Feather file; save it as Parquet",
    b"Obj\x01": "an Avro file; save it as Parquet or JSON Lines",
    **{b"\x80%c" % protocol: "a Python pickle; save its rows as Parquet or CSV" for protocol in range(2, 6)},
    b"\x93NUMPY": "a NumPy array; save its rows as Parquet or CSV",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file; save its rows as Parquet or CSV",
    b"SQLite format 3\x00": "an SQLite database; save the rows of one table as CSV",
    b"$FL2": "an SPSS table; save it as CSV",
    b"$FL3": "an SPSS table; save it as CSV",
    b"<stata_dta>": "a Stata table; save it as CSV",
    bytes(12) + b"\xc2\xea\x81\x60": "a SAS table; save it as CSV",
    b"RDX2\n": "an R workspace; save its rows as CSV",
    b"RDX3\n": "an R workspace; save its rows as CSV",
    b"%PDF-": "a PDF document; save its text as plain text",
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS, not the file itself; fetch that (git lfs pull)",
}
UNREAD_ENDINGS = {  # kinds without distinct first bytes, by their ending
    ".br": "packed by brotli; unpack it",
    ".lzo": "packed by lzo; unpack it",
    ".orc": "an ORC file; save it as Parquet",
}
DOCUMENTS = {  # zip archives that are one document, by a member of them
    "xl/workbook.xml": "an Excel workbook; save it as CSV UTF-8 there",
    "xl/workbook.bin": "an Excel workbook; save it as CSV UTF-8 there",
    "word/document.xml": "a Word document; save its text as plain text (UTF-8) there",
    "content.xml": "an OpenDocument file; save it as CSV UTF-8 there",
    "Index/Document.iwa": "a document of Numbers or Pages; save it as CSV UTF-8 there",
}
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257  # POSIX.1-1988, header block


def ending(name: str) -> str:
    """Return the ending of a path or URL in lower case, without that of a compression: `.csv` of `A.CSV.gz`."""
    path = PurePosixPath(urlsplit(name).path if "://" in name else name)
    return (path.with_suffix("") if path.suffix.lower() in ENDINGS else path).suffix.lower()


def ending_inside(path: Path, name: str) -> str:
    """Return the ending of the one file in a zip archive; empty if `path` is not a zip archive."""
    if packing(path) != "zip":
        return ""
    with opened(path, name) as file:
        return ending(str(file.name))


def packing(path: Path) -> str | None:
    """Return how a file is compressed; None if it is not."""
    with path.open("rb") as file:
        return _packing_of(file.read(16))


def _packing_of(start: bytes) -> str | None:
    return next((name for magic, name in PACKINGS.items() if start.startswith(magic)), None)


@contextlib.contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed; messages call it `name`.

    Raises UserError if it can't be decompressed, also while it is read, and if it is an archive of several files.
    """
    kind = packing(path)
    try:
        with _unpacked(path, name, kind) as file:
            yield file
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise _damaged(name, kind, error) from None
    except OSError as error:  # bz2 and pyarrow raise OSError for damaged data
        if kind is None or error.errno is not None:
            raise
        raise _damaged(name, kind, error) from None


def first_bytes(path: Path, name: str) -> bytes:
    """Return the first bytes of a file, decompressed; raise UserError if its kind is not read."""
    outer = packing(path)
    with opened(path, name) as file:
        start = file.read(512)
    inner = _packing_of(start)
    if outer is not None and inner is not None:
        raise UserError(f"{name}: packed twice, {inner} within {outer}; unpack it once")
    if kind := UNREAD_ENDINGS.get(ending(name)):
        raise UserError(f"{name}: {kind}")
    for magic, kind in UNREAD.items():
        if start.startswith(magic):
            raise UserError(f"{name}: {kind}")
    if start.startswith(TAR_MAGIC, TAR_MAGIC_AT):
        raise UserError(f"{name}: a tar archive; unpack it and name one of its files")
    return start


def _damaged(name: str, kind: str | None, error: Exception) -> UserError:
    return UserError(
        f"{name}: the {kind} file is cut short or damaged ({reason(error)}); fetch it or compress it again"
    )


@contextlib.contextmanager
def _unpacked(path: Path, name: str, kind: str | None) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        file: Any  # each library has its own class for it
        match kind:
            case "gzip":
                file = stack.enter_context(gzip.open(path))
            case "bzip2":
                file = stack.enter_context(bz2.open(path))
            case "xz":
                file = stack.enter_context(lzma.open(path))
            case "zstd":
                file = stack.enter_context(pa.input_stream(path, compression="zstd"))
            case "zip":
                file = stack.enter_context(_member(stack.enter_context(zipfile.ZipFile(path)), name))
            case _:
                file = stack.enter_context(path.open("rb"))
        yield file


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if kind := next((kind for member, kind in DOCUMENTS.items() if member in names), None):
        raise UserError(f"{name}: {kind}")
    names = [member for member in names if not member.startswith("__MACOSX/")]
    if len(names) != 1:
        raise UserError(f"{name}: an archive of {len(names)} files ({listed(names)}); unpack it and name one of them")
    try:
        return archive.open(names[0])
    except (RuntimeError, NotImplementedError) as error:  # a password, an unknown method
        raise UserError(f"{name}: can't be unpacked ({reason(error)}); unpack it and name the file in it") from None
