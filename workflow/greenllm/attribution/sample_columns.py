"""A ledger's samples as columns: parsed all at once if they are clean, otherwise line by line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from greenllm.attribution.attempt import Array
from greenllm.ledger.file import Ledger, parse_ledger

# A line of numbers in JSON (RFC 8259, section 6), none negative: meters read no negative numbers, and a ledger with one
# is parsed line by line.
_NUMBER = r"(?:null|(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
_CLEAN = rf"\A(?:\[{_NUMBER}(?:,{_NUMBER})*\]\n)+\z"


def parse_columns(path: Path, content: bytes) -> tuple[Ledger, list[Array]]:
    """Read a ledger's bytes; return its records, and its samples by column, NaN where a reading failed.

    As `parse_ledger`, but some twenty times faster where the samples are clean.
    """
    begin, end = content.find(b"\n") + 1, content.rfind(b"]\n") + 2
    if 0 < begin < end:
        block = content[begin:end]
        ledger = parse_ledger(path, content[:begin] + content[end:])
        if ledger.columns and not ledger.samples and (columns := _clean_columns(block, len(ledger.columns))):
            ledger.corrupt_lines = [n if n == 1 else n + block.count(b"\n") for n in ledger.corrupt_lines]
            return ledger, columns
    ledger = parse_ledger(path, content)
    return ledger, _columns_of(ledger)


def _clean_columns(block: bytes, width: int) -> list[Array] | None:
    """Parse lines of `width` numbers or nulls; None where one of them is anything else."""
    if not pa.compute.match_substring_regex(pa.scalar(block, pa.binary()), _CLEAN).as_py():
        return None
    names = [str(position) for position in range(width)]
    try:
        table = pa.csv.read_csv(
            pa.py_buffer(block.translate(None, b"[]")),
            pa.csv.ReadOptions(use_threads=False, column_names=names),
            pa.csv.ParseOptions(quote_char=False),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=["null"]),
        )
    except pa.ArrowInvalid:  # a line of another width
        return None
    columns = [column.to_numpy() for column in table.columns]
    return None if any(np.isinf(column).any() for column in columns) else columns  # a number beyond all bounds


def _columns_of(ledger: Ledger) -> list[Array]:
    if not ledger.columns:
        return []
    try:
        table = np.array(ledger.samples, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        ledger.drop_damaged_samples()
        table = np.array(ledger.samples, dtype=np.float64)
    return list(np.ascontiguousarray(table.reshape(-1, len(ledger.columns)).T))
