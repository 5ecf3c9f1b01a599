"""Checkpoints from which a killed training resumes: only complete ones of the same training."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import require_writable, write_json

WHOLE = "whole.json"
TRAINING = "training.sha256"
# Ids of the metered attempts at the training.
ATTEMPTS = "attempts.json"
NOTES = (TRAINING, ATTEMPTS)
# The name that transformers' Trainer uses.
CHECKPOINT = re.compile(r"checkpoint-\d+")


class PausedError(Exception):
    """The training has paused after a checkpoint; it goes on when it is run again."""

    def __init__(self, step: int) -> None:
        super().__init__(f"paused after step {step}, as planned")


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that determines a training's weights."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def mark_whole(checkpoint: Path) -> None:
    """Record the size of every file in `checkpoint`; called after the last one was written."""
    for file in _files(checkpoint):
        with (checkpoint / file).open("rb") as written:
            os.fsync(written.fileno())
    write_json(checkpoint / WHOLE, _files(checkpoint))


def require_only_checkpoints(folder: Path) -> None:
    """Raise UserError if `folder` holds anything but a training's checkpoints, or is not writable."""
    if folder.is_dir():
        known = (folder / TRAINING).is_file()
        strangers = sorted(path.name for path in folder.iterdir() if not (known and _is_own(path)))
        if strangers:
            raise UserError(
                f"{folder}: holds {strangers[0]!r}, which is no checkpoint of `greenllm train`; name a new folder"
            )
    require_writable(folder)


def join_attempts(folder: Path, attempt: str) -> list[str]:
    """Add the meter's id of an attempt to those recorded in a checkpoints folder; return the earlier ones."""
    note = folder / ATTEMPTS
    noted: list[str] = json.loads(note.read_text()) if note.is_file() else []
    others = [other for other in noted if other != attempt]
    write_json(note, [*others, attempt])
    return others


def open_folder(folder: Path, training: str) -> Path | None:
    """Prepare `folder` for a training and return the newest complete checkpoint, or None.

    Incomplete checkpoints and those of another training are removed; `training` is the fingerprint of this one.
    Raises UserError if the folder holds anything else.
    """
    require_only_checkpoints(folder)
    note = folder / TRAINING
    if not note.is_file() or note.read_text() != training:
        remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(training)
        return None
    remove_broken(folder)
    return max(_checkpoints(folder), key=step_of, default=None)


def remove_broken(folder: Path) -> None:
    """Remove incomplete checkpoints."""
    for checkpoint in _checkpoints(folder):
        if not _is_whole(checkpoint):
            shutil.rmtree(checkpoint)


def remove(folder: Path) -> None:
    """Remove a training's checkpoints and notes, and the folder if it is then empty."""
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if not _is_own(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not any(folder.iterdir()) and not folder.is_symlink():
        folder.rmdir()


def _is_own(path: Path) -> bool:
    """Return whether a training wrote this file or folder."""
    half_written = path.name.startswith(".") and path.name.endswith(".partial")
    return path.name in NOTES or CHECKPOINT.fullmatch(path.name) is not None or half_written


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def no_space(error: Exception, folder: Path, needed_bytes: int) -> bool:
    """Return whether `error` means that the disk of `folder` or the user's quota is full.

    PyTorch and safetensors do not pass on the system's error number, so the free space decides.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    text = str(error)
    return "os error 28" in text or "os error 122" in text or shutil.disk_usage(folder).free < needed_bytes


def no_space_error(folder: Path, what: str, needed_bytes: int, remedy: str) -> UserError:
    """Return the error for a full disk: where, what was being written, free and needed space, and the remedy."""
    free_MB = shutil.disk_usage(folder).free / 1e6
    return UserError(
        f"{folder}: no space left on the disk for {what}: {free_MB:.1f} MB free, about {needed_bytes / 1e6:.1f} MB "
        f"needed; {remedy}"
    )


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if CHECKPOINT.fullmatch(path.name)]


def _files(checkpoint: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(checkpoint.iterdir()) if file.name != WHOLE}


def _is_whole(checkpoint: Path) -> bool:
    try:
        return bool(json.loads((checkpoint / WHOLE).read_text()) == _files(checkpoint))
    except (OSError, ValueError):
        return False
