"""Collect a data set: its rows as Parquet, and a card that says where they come from."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from greenllm.config.models import Data, HarnessData, Mapped
from greenllm.data.raw_rows import OPTIONAL
from greenllm.data.sources import HarnessTasks, Part, open_source
from greenllm.data.tables import write_table
from greenllm.documents.card import BadRow, CardFile, DataCard
from greenllm.documents.harness import FILE as HARNESS
from greenllm.errors import UserError
from greenllm.files import SHOWN_CHARACTERS, replacing_folder, require_replaceable
from greenllm.tasks import Task

STAGE = "collect"
SHOWN = 5  # bad rows that are printed
NAMED = 1000  # bad rows that the card lists


def collect(task: Task, settings: Data, base: Path, out: Path) -> DataCard:
    """Write `out`/train.parquet, test.parquet if the source has a test part, and card.json; return the card.

    Rows that can't be read are left out and listed in the card: `preprocess` has the limit on their share.
    Raises UserError if a source or a whole file is unusable.
    """
    place = require_replaceable(out, STAGE, [base / file for file in settings.files.values()])
    downloads = place.parent / f".{place.name[:SHOWN_CHARACTERS]}.downloads"
    source = open_source(task, settings, base, downloads)
    bad: list[BadRow] = []
    files: list[CardFile] = []
    with replacing_folder(out, STAGE) as folder:
        for part in source.parts():
            if "header" in part.facts:
                print(f"{part.file}: line 1, {part.facts['header']!r}, is read as a header, no row", file=sys.stderr)
            before = len(bad)
            rows = tqdm(_kept(part.rows, bad), desc=f"collect {part.name}", unit=" rows", mininterval=5, delay=2)
            path = folder / f"{part.name}.parquet"
            count = write_table(path, _columns(task, settings), rows)
            if count == 0:
                raise UserError(_unusable(part, bad[before:], task))
            facts = {**part.facts, "rows": count}
            facts.setdefault("bytes", path.stat().st_size)
            files.append(CardFile(part=part.name, file=part.file, **facts))
        card = DataCard(
            task=task.name,
            source=settings.source,
            **{"near_duplicates": True, **source.card},
            columns=list(_columns(task, settings)),
            files=files,
            rows=sum(file.rows for file in files),
            bytes=sum(file.bytes or 0 for file in files),
            bad_row_count=len(bad),
            bad_rows=bad[:NAMED],
        )
        card.write(folder / "card.json")
        if isinstance(source, HarnessTasks):
            source.selection.write(folder / HARNESS)
    for row in bad[:SHOWN]:
        print(row, file=sys.stderr)
    if len(bad) > SHOWN:
        print(f"… and {len(bad) - SHOWN:,} more bad rows, listed in {out / 'card.json'}", file=sys.stderr)
    _remove(downloads)
    return card


def _kept(rows: Iterable[dict[str, Any] | BadRow], bad: list[BadRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            yield row


def _columns(task: Task, settings: Data) -> tuple[str, ...]:
    if isinstance(settings, Mapped):
        return ("row", *task.columns, *(name for name in OPTIONAL if name in settings.columns))
    return ("row", *task.columns, "group", *(("subset",) if task.subsets or isinstance(settings, HarnessData) else ()))


def _unusable(part: Part, bad: list[BadRow], task: Task) -> str:
    if bad:
        return f"{bad[0]} (and no other row is usable either)"
    return f"{part.file}: no rows; expected rows of {' and '.join(task.columns)}"


def _remove(downloads: Path) -> None:
    if downloads.is_dir():
        for path in downloads.iterdir():
            path.unlink()
        downloads.rmdir()
