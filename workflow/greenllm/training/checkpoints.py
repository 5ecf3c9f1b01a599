"""Checkpoints that a killed training resumes from: only whole ones, only those of the same training."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import write_json

WHOLE = "whole.json"
TRAINING = "training.sha256"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything a training's weights hang on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def mark_whole(checkpoint: Path) -> None:
    """Note that every file of `checkpoint` has been written, with their sizes; called when the last one is."""
    for file in _files(checkpoint):
        with (checkpoint / file).open("rb") as written:
            os.fsync(written.fileno())
    write_json(checkpoint / WHOLE, _files(checkpoint))


def open_folder(folder: Path, training: str) -> Path | None:
    """Make `folder` ready for a training and return the newest whole checkpoint to resume from, if there is one.

    Half-written checkpoints are removed, as are those of another training (`training` is its fingerprint).
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / TRAINING
    if not note.is_file() or note.read_text() != training:
        remove(folder)
        folder.mkdir(parents=True)
        note.write_text(training)
        return None
    remove_broken(folder)
    return max(_checkpoints(folder), key=step_of, default=None)


def remove_broken(folder: Path) -> None:
    """Remove half-written checkpoints."""
    for checkpoint in _checkpoints(folder):
        if not _is_whole(checkpoint):
            remove(checkpoint)


def remove(folder: Path) -> None:
    """Remove a folder, where it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def no_space(error: Exception, folder: Path, needed_bytes: int) -> bool:
    """Whether `error` is that the disk of `folder` (or the user's quota) is full.

    PyTorch and safetensors do not pass the system's error number on, so the free space decides.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    text = str(error)
    return "os error 28" in text or "os error 122" in text or shutil.disk_usage(folder).free < needed_bytes


def no_space_error(folder: Path, what: str, needed_bytes: int, remedy: str) -> UserError:
    """Return the error that tells the user of a full disk: where, what was written, how much is free and needed."""
    free_MB = shutil.disk_usage(folder).free / 1e6
    return UserError(
        f"{folder}: no space left on the disk for {what}: {free_MB:.1f} MB free, about {needed_bytes / 1e6:.1f} MB "
        f"needed; {remedy}"
    )


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]


def _files(checkpoint: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(checkpoint.iterdir()) if file.name != WHOLE}


def _is_whole(checkpoint: Path) -> bool:
    try:
        return bool(json.loads((checkpoint / WHOLE).read_text()) == _files(checkpoint))
    except (OSError, ValueError):
        return False
