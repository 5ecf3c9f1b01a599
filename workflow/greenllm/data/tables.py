"""Writes and reads Parquet tables of text; the same rows are always the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from greenllm.errors import UserError, reason

NUMBERS = {"row": pa.int64(), **dict.fromkeys(("prompt_ids", "ids", "turns"), pa.list_(pa.int32()))}
BATCH = 10_000  # rows held in memory while writing


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write the rows and return their number; all columns are text except those of `NUMBERS`."""
    schema = pa.schema([(name, NUMBERS.get(name, pa.string())) for name in columns])
    count, batch = 0, []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                count, batch = count + len(batch), []
        writer.write_table(pa.Table.from_pylist(batch, schema))
    return count + len(batch)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table; raise UserError if it can't be read."""
    try:
        with pq.ParquetFile(path) as file:  # `pq.read_table` imports Arrow's data sets, which take 30 MB
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected what `greenllm collect` writes") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({reason(error)})") from None
    return rows
