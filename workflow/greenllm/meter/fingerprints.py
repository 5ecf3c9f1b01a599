"""Fingerprints of files, by which a result is traced to the files that it was made from."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from greenllm.paths import printable
from greenllm.timestamps import rfc3339
from greenllm.written import SNAKEMAKES_STAMP

# Hashing this much takes a fraction of a second; larger files and folders are identified by size and time.
HASHED_BYTES = 64 * 2**20


def fingerprints(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return {name: fingerprint} of files and folders, which are given with their names.

    A file's is its SHA-256 in hexadecimal, or {bytes, modified} beyond 64 MiB; a folder's {files, bytes, modified}
    (of all files in it, the latest modification). None for what is missing, unreadable, or no file (a pipe).
    """
    return {printable(name): _fingerprint(path) for name, path in files.items()}


def _fingerprint(path: Path) -> Any:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            files = list(_files(path))
            latest_s = max((file.st_mtime for file in files), default=found.st_mtime)
            return {"files": len(files), "bytes": sum(file.st_size for file in files), "modified": rfc3339(latest_s)}
        if not stat.S_ISREG(found.st_mode):  # a pipe would never end
            return None
        if found.st_size > HASHED_BYTES:
            return {"bytes": found.st_size, "modified": rfc3339(found.st_mtime)}
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, OverflowError):  # the latter two: a time stamp that is none
        return None


def _files(folder: Path) -> Iterator[os.stat_result]:
    def refuse(error: OSError) -> None:
        raise error  # half a folder is not the folder

    for parent, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            if name != SNAKEMAKES_STAMP:
                yield Path(parent, name).stat()
