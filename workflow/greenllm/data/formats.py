"""File formats: JSON lines, CSV, Parquet and plain text, each read row by row."""

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from greenllm.data.records import BAD_BYTES, Raw, check_columns, has_bad_bytes
from greenllm.errors import UserError

ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
}
LONGEST_CELL = 2**27  # characters; csv's own limit of 131,072 is less than a long document


def read(path: Path, name: str, format: str, encoding: str, columns: Mapping[str, str]) -> Iterator[Raw]:
    """Read `path` row by row; `name` is what messages call it, and its ending decides the format `auto`.

    Raises UserError where the whole file is unusable; a single bad row comes with its problem.
    """
    if not path.exists():
        raise UserError(f"{name}: no such file; expected a file of rows (relative paths start at data_folder)")
    if not path.is_file():
        raise UserError(f"{name}: not a file; expected a file of rows")
    ending = Path(name).suffix.lower()
    if format == "auto":
        if ending not in ENDINGS:
            raise UserError(
                f"{name}: unknown ending {ending!r}; name the format, as in data.format: jsonl (or csv, parquet, text)"
            )
        format = ENDINGS[ending]
    if path.stat().st_size == 0:
        raise UserError(f"{name}: the file is empty; expected rows of {' and '.join(columns.values())}")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UserError(f"data.encoding: {encoding!r} is unknown; expected one such as utf-8 or latin-1") from None
    match format:
        case "parquet":
            yield from _parquet(path, name, columns)
        case "csv":
            yield from _text_file(_csv, path, name, encoding, columns, encoding, "\t" if ending == ".tsv" else ",")
        case "jsonl":
            yield from _text_file(_jsonl, path, name, encoding)
        case _:
            check_columns(name, ["text"], columns)
            yield from _text_file(_lines, path, name, encoding)


def _text_file(reader, path: Path, name: str, encoding: str, *more) -> Iterator[Raw]:  # type: ignore[no-untyped-def]
    # utf-8-sig also takes UTF-8 without a byte order mark. Bytes that are no text become lone surrogates, so that
    # one bad row does not hide the others.
    encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    try:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            yield from reader(file, name, *more)
    except (UnicodeError, OSError) as error:
        raise UserError(f"{name}: can't be read as {encoding} ({error}); see data.encoding") from None


def _jsonl(file: Iterator[str], name: str) -> Iterator[Raw]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line.rstrip("\r\n"))  # else a line cut short is at fault in a line 2
        except (json.JSONDecodeError, RecursionError) as error:
            where = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            yield Raw(number, {}, f'not valid JSON ({where}); expected one object such as {{"prompt": …}} a line')
            continue
        if isinstance(values, dict):
            yield Raw(number, values)
        else:
            yield Raw(number, {}, f'a JSON {type(values).__name__}, expected an object such as {{"prompt": …}}')


def _csv(file: Iterator[str], name: str, columns: Mapping[str, str], encoding: str, delimiter: str) -> Iterator[Raw]:
    csv.field_size_limit(LONGEST_CELL)
    # Strict, since otherwise a quote that is never closed swallows the rest of the file in silence.
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    header: list[str] = []
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if not header or "unexpected end" in str(error) or "field larger" in str(error):
                raise UserError(
                    f'{name}: row {number + 1} (line {line}): {error}; is a quote (") opened there and never closed?'
                ) from None
            number += 1
            yield Raw(number, {}, f"(line {line}) {error}; a quote inside a quoted cell is written twice")
            continue
        if not cells:
            continue
        if not header:
            header = cells
            if has_bad_bytes("".join(header)):
                raise UserError(f"{name}: the header holds {BAD_BYTES.format(encoding)}")
            check_columns(name, header, columns)
            continue
        number += 1
        if len(cells) == len(header):
            yield Raw(number, dict(zip(header, cells, strict=True)))
        else:
            yield Raw(number, {}, f"(line {line}) {len(cells)} cells, expected {len(header)} as in the header")


def _lines(file: Iterator[str], name: str) -> Iterator[Raw]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield Raw(number, {"text": line.rstrip("\r\n")})


def _parquet(path: Path, name: str, columns: Mapping[str, str]) -> Iterator[Raw]:
    try:
        with pq.ParquetFile(path) as file:
            check_columns(name, file.schema_arrow.names, columns)
            number = 0
            for batch in file.iter_batches(columns=list(columns.values())):
                for values in batch.to_pylist():
                    number += 1
                    yield Raw(number, values)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
