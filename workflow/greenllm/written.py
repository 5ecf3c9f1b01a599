"""Which stage wrote a folder: a record in it, by which a later run knows what it may replace."""

import json
from collections.abc import Iterator
from pathlib import Path

RECORD = ".greenllm-written"
SCHEMA = "greenllm/written/1"
# Snakemake puts it into a folder that a job has made, after the job.
NOT_THE_USERS = (RECORD, ".snakemake_timestamp")


def note_written(folder: Path, stage: str) -> None:
    """Note in `folder` that `greenllm STAGE` wrote all that is in it now."""
    names = [str(path.relative_to(folder)) for path in _content(folder)]
    record = {"schema": SCHEMA, "stage": stage, "names": names}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def not_written_by(folder: Path, stage: str) -> str | None:
    """Return a file or folder in `folder` that `greenllm STAGE` did not write, or that was changed since, if any.

    The record is written last: what was modified later was modified by somebody else.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        names = set(record["names"]) if record["stage"] == stage else set()
        written_ns = (folder / RECORD).stat().st_mtime_ns
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or it is no record of ours
        names, written_ns = set(), 0
    for path in _content(folder):
        name = str(path.relative_to(folder))
        if name not in names or path.is_symlink() or (path.is_file() and path.stat().st_mtime_ns > written_ns):
            return name
    return None


def _content(folder: Path) -> Iterator[Path]:
    """Yield all that is in a folder, at any depth, in order; links are not followed."""
    for path in sorted(folder.iterdir()):
        if path.name not in NOT_THE_USERS:
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from _content(path)
