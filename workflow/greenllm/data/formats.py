"""Reads files of rows: finds the format by name and content, and yields row by row."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from greenllm.data.arrow_rows import rows_of
from greenllm.data.csv_rows import find_separator, header_of, read_separated
from greenllm.data.json_rows import read_json_rows
from greenllm.data.raw_rows import Raw, check_columns
from greenllm.data.text_files import TextFile, text_file
from greenllm.errors import UserError, reason
from greenllm.packed import ending, ending_inside, first_bytes, opened, packing

ENDINGS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
}
HEADER = "text"  # first line of a plain-text file that names its single column
BATCH = 1000  # rows of a Parquet file held in memory at once


@dataclass(frozen=True)
class FileRows:
    """The rows of a file; `facts` are for the card: packing, separator and header, unless they are the usual ones."""

    rows: Iterator[Raw]
    facts: Mapping[str, str]

    def __iter__(self) -> Iterator[Raw]:
        return self.rows


def read(
    path: Path, name: str, format: str, encoding: str, columns: Mapping[str, str], separator: str | None = None
) -> FileRows:
    """Return the rows of `path`; `name` is its name in messages, whose ending decides the format `auto`.

    The file must have `columns` (ours → the file's). A CSV file's `separator` is found by them if it is None.
    Raises UserError if the whole file is unusable, also during reading; a single bad row is yielded with its problem.
    """
    format = _format(path, name, format, " and ".join(columns.values()))
    packed = packing(path)
    facts = {} if packed is None else {"packing": packed}
    match format:
        case "parquet":
            return FileRows(_parquet(path, name, columns), facts)
        case "csv":
            file = text_file(path, name, encoding, "the header")
            usual = "\t" if ending(name) == ".tsv" else ","
            found = separator or find_separator(file, columns, usual)
            return FileRows(
                read_separated(file, columns, found), facts if found == usual else {**facts, "separator": found}
            )
        case "json" | "jsonl":
            return FileRows(read_json_rows(text_file(path, name, encoding, "the first line"), columns), facts)
        case _:
            check_columns(name, ["text"], columns)
            file = text_file(path, name, encoding, "the first line")
            header = _has_header(file)
            return FileRows(_lines(file, header), {**facts, "header": HEADER} if header else facts)


def column_names(path: Path, name: str, format: str, encoding: str, separator: str | None = None) -> list[str]:
    """Return the names of a file's columns; of JSON, the keys of its first row. The parameters are those of `read`.

    Raises UserError if the whole file is unusable.
    """
    format = _format(path, name, format, "conversations")
    match format:
        case "parquet":
            with _parquet_file(path, name) as table:
                return list(table.schema_arrow.names)
        case "csv":
            file = text_file(path, name, encoding, "the header")
            return header_of(file, separator or ("\t" if ending(name) == ".tsv" else None))
        case "json" | "jsonl":
            rows = read_json_rows(text_file(path, name, encoding, "the first line"), {"messages": "messages"})
            return next((list(row.values) for row in rows if row.problem is None), [])
        case _:
            return [HEADER]


def _format(path: Path, name: str, format: str, expected: str) -> str:
    """Return the format of a file, by its ending if it is `auto`; raise UserError if there is none, or no content."""
    if not path.exists():
        raise UserError(f"{name}: no such file; expected a file of rows (relative paths start at data_folder)")
    if not path.is_file():
        raise UserError(f"{name}: not a file; expected a file of rows")
    if not first_bytes(path, name):
        raise UserError(f"{name}: the file is empty; expected rows of {expected}")
    if format != "auto":
        return format
    known = ending(name) or ending_inside(path, name)
    if known not in ENDINGS:
        raise UserError(
            f"{name}: unknown ending {known or Path(name).suffix!r}; name the format, as in data.format: jsonl "
            "(or json, csv, parquet, text)"
        )
    return ENDINGS[known]


def _has_header(file: TextFile) -> bool:
    with file.opened(newline="\n") as lines:
        return lines.readline(16).strip().strip('"').casefold() == HEADER


def _lines(file: TextFile, header: bool) -> Iterator[Raw]:
    with file.opened(newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip() and not (header and number == 1):
                yield Raw(number, {"text": line.rstrip("\r\n")})


def _parquet(path: Path, name: str, columns: Mapping[str, str]) -> Iterator[Raw]:
    with _parquet_file(path, name) as file:
        check_columns(name, file.schema_arrow.names, columns)
        number = 0
        for batch in file.iter_batches(batch_size=BATCH, columns=list(dict.fromkeys(columns.values()))):
            for values in rows_of(batch):
                number += 1
                yield Raw(number, values)


@contextlib.contextmanager
def _parquet_file(path: Path, name: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; raise UserError if it can't be read, also while it is read."""
    try:
        with opened(path, name) as packed:
            source = path if packing(path) is None else pa.BufferReader(packed.read())
            with pq.ParquetFile(source) as file:
                yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not a readable Parquet file ({reason(error)})") from None
