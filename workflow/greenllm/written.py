"""Which stage wrote a folder: a record in it, from which a later run knows what it may replace."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

RECORD = ".greenllm-written"
SCHEMA = "greenllm/written/1"
# Snakemake writes it into a folder that a job has made, after the job.
SNAKEMAKES_STAMP = ".snakemake_timestamp"
NOT_THE_USERS = (RECORD, SNAKEMAKES_STAMP)


def note_written(folder: Path, stage: str) -> None:
    """Record in `folder` that `greenllm STAGE` wrote all that is in it now."""
    names = [str(path.relative_to(folder)) for path in _content(folder)]
    record = {"schema": SCHEMA, "stage": stage, "names": names}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def not_written_by(folder: Path, stage: str) -> str | None:
    """Return a file or folder in `folder` that `greenllm STAGE` did not write, or that was changed since, if any.

    The record is written last, so a file with a later time was added or changed by somebody else. Hard links of a
    bundle change the times of a file's inode, not of its content.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        names = set(record["names"]) if record["stage"] == stage else set()
        written = (folder / RECORD).stat()
    except (OSError, ValueError, TypeError, KeyError):  # no record, or not one of ours
        names, written = set(), None
    for path in _content(folder):
        name = str(path.relative_to(folder))
        if name not in names or path.is_symlink() or (path.is_file() and written and _is_later(path.stat(), written)):
            return name
    return None


def _is_later(file: os.stat_result, record: os.stat_result) -> bool:
    moved_here = file.st_nlink == 1 and file.st_ctime_ns > record.st_ctime_ns
    return file.st_mtime_ns > record.st_mtime_ns or moved_here


def _content(folder: Path) -> Iterator[Path]:
    """Yield everything in a folder, at any depth, sorted; links are not followed."""
    for path in _below(folder):
        if path.parent != folder or path.name not in NOT_THE_USERS or not path.is_file():
            yield path


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)
