"""Reads tables with a separator between cells, such as CSV and TSV; the first line is the header."""

import csv
import re
from collections.abc import Iterator, Mapping

from greenllm.data.raw_rows import BAD_BYTES, Raw, check_columns, has_bad_bytes
from greenllm.data.text_files import TextFile
from greenllm.errors import UserError, listed, quoted

SEPARATORS = (",", ";", "\t", "|")
LONGEST_CELL = 2**27  # characters; csv's own limit, 131,072, is too low for long documents
DECLARATION = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)  # a first line that Excel writes and reads
HEADER = "; the first line is the header, with {!r} between its cells (see data.separator)"


def find_separator(file: TextFile, columns: Mapping[str, str], usual: str) -> str:
    """Return the separator that the file declares, else the first with which the header has all the columns.

    `usual` is tried first. If none yields all columns, return the one that yields most cells.
    """
    if declared := _declared(file):
        return declared
    headers = {separator: _header(file, separator) for separator in dict.fromkeys((usual, *SEPARATORS))}
    for separator, names in headers.items():
        if set(columns.values()) <= set(names):
            return separator
    return max(headers, key=lambda separator: len(headers[separator]))


def header_of(file: TextFile, separator: str | None) -> list[str]:
    """Return the cells of the header; without a separator, by the one that the file declares or that yields most."""
    declared = _declared(file)
    found, skipped = separator or declared, 1 if declared else 0
    headers = [_header(file, one, skipped) for one in ((found,) if found else SEPARATORS)]
    return max(headers, key=len)


def read_separated(file: TextFile, columns: Mapping[str, str], separator: str) -> Iterator[Raw]:
    """Yield the rows; raise UserError if the header lacks a column, or a quote is never closed."""
    csv.field_size_limit(LONGEST_CELL)
    name, skipped = file.name, 1 if _declared(file) else 0
    with file.opened(newline="") as lines:
        for _ in range(skipped):
            next(lines)
        # Strict: otherwise a quote that is never closed would silently swallow the rest of the file.
        reader = csv.reader(lines, delimiter=separator, strict=True)
        header: list[str] = []
        number = 0
        while True:
            line = reader.line_num + skipped + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                if not header or "unexpected end" in str(error) or "field larger" in str(error):
                    raise UserError(
                        f'{name}: row {number + 1} (line {line}): {error}; is a quote (") opened there and never '
                        "closed, or does the separator differ from data.separator?"
                    ) from None
                number += 1
                yield Raw(number, {}, f"(line {line}) {error}; a quote inside a quoted cell is written twice")
                continue
            if not cells:
                continue
            if not header:
                header = cells
                if has_bad_bytes("".join(header)):
                    raise UserError(f"{name}: the header holds {BAD_BYTES.format(file.encoding)}")
                _require_table(name, header, columns, separator)
                check_columns(name, header, columns, HEADER.format(separator))
                continue
            number += 1
            if len(cells) == len(header):
                yield Raw(number, dict(zip(header, cells, strict=True)))
            else:
                yield Raw(number, {}, f"(line {line}) {len(cells)} cells, expected {len(header)} as in the header")


def _require_table(name: str, header: list[str], columns: Mapping[str, str], separator: str) -> None:
    """Raise UserError if the header is that of a web page, or a single cell while several columns are needed."""
    if header[0].lstrip().casefold().startswith(("<!doctype", "<html", "<?xml")):
        raise UserError(f"{name}: a web page or another XML file, not rows; download the file of rows itself")
    needed = list(dict.fromkeys(columns.values()))
    if len(header) == 1 < len(needed):
        raise UserError(
            f"{name}: its first line, {quoted(header[0])}, is one cell with the separator {separator!r}; expected a "
            f"header with the columns {listed(needed)}: name the separator, as in data.separator: ';', or name the "
            "right file"
        )


def _declared(file: TextFile) -> str | None:
    with file.opened(newline="") as lines:
        found = DECLARATION.fullmatch(lines.readline(16))
    return found[1] if found else None


def _header(file: TextFile, separator: str, skipped: int = 0) -> list[str]:
    """Return the cells of the first line with any, after the `skipped` ones."""
    with file.opened(newline="") as lines:
        for _ in range(skipped):
            next(lines)
        try:
            return next((cells for cells in csv.reader(lines, delimiter=separator, strict=True) if cells), [])
        except csv.Error:
            return []
