"""Tables whose columns have types, as Arrow reads them: Parquet files and data sets of the hub."""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from greenllm.data.raw_rows import Unreadable


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, their numbers and truth values as text."""
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """Return a column's values: text where Arrow has one text for them, else as Python has them.

    Arrow writes a whole float without a fraction (1.0 is `1`), as integers were before pandas made floats of them for
    the sake of a missing one. What is no finite number stays a float.
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
    """Return a cell as Python has it, if it does: its years end at 9999, Arrow's do not."""
    try:
        return cell.as_py()
    except (ArithmeticError, LookupError, ValueError, pa.ArrowException):  # of a range, a time zone, a text's bytes
        return Unreadable(str(cell.type))
