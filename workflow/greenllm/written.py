"""Which stage wrote a folder: a record in it, by which a later run knows what it may replace."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORD = ".greenllm-written"
SCHEMA = "greenllm/written/1"
# Snakemake puts it into a folder that a job has made, after the job.
NOT_THE_USERS = (RECORD, ".snakemake_timestamp")
# Up to here a file is compared by its content; hashing weights of gigabytes would cost energy of its own.
HASHED_BYTES = 2**20


def note_written(folder: Path, stage: str) -> None:
    """Note in `folder` that `greenllm STAGE` wrote all that is in it now; the same content gives the same record."""
    content = {str(path.relative_to(folder)): _described(path) for path in _content(folder)}
    record = {"schema": SCHEMA, "stage": stage, "content": content}
    (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def not_written_by(folder: Path, stage: str) -> str | None:
    """Return a file or folder in `folder` that `greenllm STAGE` did not write, or that was changed since, if any."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        content = dict(record["content"]) if record["stage"] == stage else {}
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or it is no record of ours
        content = {}
    for path in _content(folder):
        name = str(path.relative_to(folder))
        if name not in content or content[name] != _described(path):
            return name
    return None


def _content(folder: Path) -> Iterator[Path]:
    """Yield all that is in a folder, at any depth, in order; links are not followed."""
    for path in sorted(folder.iterdir()):
        if path.name not in NOT_THE_USERS:
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from _content(path)


def _described(path: Path) -> dict[str, Any]:
    """Return what tells a file from another of its name."""
    if path.is_symlink():
        return {"link": str(path.readlink())}
    if not path.is_file():
        return {}
    size = path.stat().st_size
    if size > HASHED_BYTES:
        return {"bytes": size}
    return {"bytes": size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
