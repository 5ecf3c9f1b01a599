"""Rows of typed tables, as Arrow reads them from Parquet files and data sets of the hub."""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from greenllm.data.raw_rows import Unreadable


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, with numbers and truth values as text."""
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """Return a column's values: numbers and truth values as Arrow's text, others as Python values.

    Arrow writes a whole float without a fraction (1.0 as `1`). That restores integers, which pandas turns into floats
    if one is missing. Infinite values and NaN stay floats.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _values(column.storage)
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if pa.types.is_floating(kind):
        numbers, texts = column.to_pylist(), column.cast(pa.string()).to_pylist()
        return [
            text if number is None or math.isfinite(number) else number
            for number, text in zip(numbers, texts, strict=True)
        ]
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    """Return a cell as a Python value, or `Unreadable`: Python's years end at 9999, Arrow's do not."""
    try:
        return cell.as_py()
    except (ArithmeticError, LookupError, ValueError, pa.ArrowException):  # bad range, time zone or bytes of a text
        return Unreadable(str(cell.type))
