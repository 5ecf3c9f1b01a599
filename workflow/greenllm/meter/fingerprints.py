"""Fingerprints of files, by which a result is traced to the files that it was made from."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from greenllm.files import sha256_of
from greenllm.paths import printable
from greenllm.timestamps import rfc3339
from greenllm.written import SNAKEMAKES_STAMP

# Hashing this much takes a fraction of a second; larger files and folders are identified by size and time.
HASHED_BYTES = 64 * 2**20


def fingerprints(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return {name: fingerprint} of files and folders, which are given with their names.

    A file's is its SHA-256 in hexadecimal, or {bytes, modified} beyond 64 MiB. A folder's is {files, bytes, modified}
    (of all files in it, the latest modification) and, up to 64 MiB, `sha256`: that of the lines `<sha256>  <path>` of
    its files, in order of their paths. None for what is missing, unreadable, or no file (a pipe).
    """
    return {printable(name): _fingerprint(path) for name, path in files.items()}


def _fingerprint(path: Path) -> Any:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return _of_folder(path, found)
        if not stat.S_ISREG(found.st_mode):  # a pipe would never end
            return None
        if found.st_size > HASHED_BYTES:
            return {"bytes": found.st_size, "modified": rfc3339(found.st_mtime)}
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, OverflowError):  # the latter two: a time stamp that is none
        return None


def hashed(one: Any, other: Any) -> bool:
    """Whether two fingerprints can be compared by content: both are, or have, a hash."""
    return all(isinstance(found, str) or (isinstance(found, dict) and "sha256" in found) for found in (one, other))


def same(one: Any, other: Any) -> bool:
    """Whether two fingerprints may be of one content. Where both have a hash, times don't count: a copy has others."""
    if hashed(one, other):
        return _equal(one, other, without=("modified",))
    return _equal(one, other)


def same_but_for_time(one: Any, other: Any) -> bool:
    """Whether two fingerprints differ at most in times of modification, which are those of a copy where it was copied.

    Without a hash this says that the number of files and their sizes are equal, and nothing of their content.
    """
    return _equal(one, other, without=("modified",))


def _equal(one: Any, other: Any, without: Collection[str] = ()) -> bool:
    """Compare what both know: folders in earlier ledgers have no `sha256`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(one[key] == other[key] for key in (one.keys() & other.keys()) - set(without))
    return bool(one == other)


def _of_folder(folder: Path, found: os.stat_result) -> dict[str, Any]:
    files = dict(_files(folder))
    size = sum(file.st_size for file in files.values())
    latest_s = max((file.st_mtime for file in files.values()), default=found.st_mtime)
    fingerprint = {"files": len(files), "bytes": size, "modified": rfc3339(latest_s)}
    if size > HASHED_BYTES or not all(stat.S_ISREG(file.st_mode) for file in files.values()):
        return fingerprint
    try:
        lines = sorted((path.relative_to(folder).as_posix(), sha256_of(path)) for path in files)
    except OSError:  # a file that can't be read
        return fingerprint
    text = "".join(f"{sha256}  {name}\n" for name, sha256 in lines)
    return fingerprint | {"sha256": hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()}


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    def refuse(error: OSError) -> None:
        raise error  # half a folder is not the folder

    for parent, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            if name != SNAKEMAKES_STAMP:
                yield Path(parent, name), Path(parent, name).stat()
