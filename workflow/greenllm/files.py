"""Writing files and folders, complete or not at all: under a temporary name, then renamed. Others' files stay."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.written import not_written_by, note_written

# Where the kernel lists a process's open files: /dev/stdout and /dev/fd/1 are links to it.
OPEN_FILE = re.compile(r"/proc/(\d+)/(?:task/\d+/)?fd/(\d+)")
MOST_LINKS = 40  # that the kernel follows
SHOWN_CHARACTERS = 40  # of a name in its temporary name: the name itself may have the largest length allowed


def require_writable(folder: Path) -> None:
    """Raise UserError if `folder`, or the folder in which it would be made, is not writable."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UserError(f"{folder}: {there} is no folder; name one that is, or a new one")
    remedy = "make it writable (it may be another user's, or mounted read-only)"
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: can't write to {there}; {remedy}")
    try:  # some folders, such as /proc, take no files, though root has the permission
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UserError(f"{folder}: can't write to {there} ({error.strerror}); name another, or {remedy}") from None


def require_replaceable(folder: Path, stage: str, inputs: Iterable[Path | None] = ()) -> Path:
    """Return where `folder` is, links followed, after checking that `greenllm STAGE` may write its result there.

    Raises UserError if something would be lost: `folder` holds what this stage did not write, is or contains one of
    `inputs`, is or contains the current folder, is not a folder, or can't be written to.
    """
    try:
        place = folder.resolve()
        if folder.is_symlink() and not place.exists():
            raise UserError(f"{folder}: is a link to {place}, which is not there; expected a folder")
        if place.exists() and not place.is_dir():
            raise UserError(f"{folder}: is a file; expected a folder, or the name of a new one")
        if Path.cwd().is_relative_to(place):
            raise UserError(f"{folder}: is or contains the current folder; name a new folder in it")
        if place.is_mount():
            raise UserError(f"{folder}: is where a file system is mounted; name a new folder in it")
        for given in inputs:
            if given is not None and given.resolve().is_relative_to(place):
                raise UserError(f"{folder}: would replace its own input {given}; name another folder")
        require_writable(place)
        if place.is_dir() and (other := not_written_by(place, stage)) is not None:
            raise UserError(
                f"{folder}: holds {other!r}, which `greenllm {stage}` did not write, or which was changed since; name "
                "a new folder, or move that away"
            )
    except (OSError, RuntimeError) as error:  # pathlib raises RuntimeError for links that form a cycle
        raise UserError(f"{folder}: can't be written to ({getattr(error, 'strerror', None) or error})") from None
    return place


@contextlib.contextmanager
def replacing_folder(path: Path, stage: str) -> Iterator[Path]:
    """Yield an empty folder next to `path`; on success it replaces `path`, on failure it is removed.

    The result records that `greenllm STAGE` wrote it. Raises the UserErrors of `require_replaceable`.
    """
    place = require_replaceable(path, stage)
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(place)
    beside.mkdir()
    before = beside.with_suffix(".replaced")
    try:
        yield beside
        note_written(beside, stage)
        require_replaceable(path, stage)  # again: the job may have taken hours
        if place.exists():
            place.rename(before)
        try:
            beside.rename(place)
        except OSError:
            if before.exists():
                before.rename(place)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on success the file written there replaces `path`, on failure it is removed.

    Links are followed: they stay, and the file that they lead to is replaced. A path that exists and is not a regular
    file (a pipe, /dev/stdout, a terminal) is written to. Raises UserError if `path` can't be written.
    """
    place = require_replaceable_file(path)
    if place is None:
        beside = _beside(Path(tempfile.gettempdir(), "greenllm"))
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(place)
    try:
        yield beside
        if place is None:
            _write_into(path, beside.read_bytes())
            return
        with contextlib.suppress(FileNotFoundError):
            beside.chmod(stat.S_IMODE(place.stat().st_mode))
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def require_own(path: Path, *marks: str) -> None:
    """Raise UserError if `path` is a file that GreenLLM did not write: its first 4,096 bytes have none of the marks.

    For files that the user did not name; a file named by `--out FILE` is replaced.
    """
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            start = file.read(4096)
            if not any(mark.encode() in start for mark in marks):
                raise UserError(f"{path}: was not written by GreenLLM; move it away, or name another folder")


def is_written_into(path: Path) -> bool:
    """Return whether `path` is written to, not replaced: a pipe, a terminal, an open file of this process.

    Raises UserError if it can't be written as a file: a folder, a disk, a socket, or links that form a cycle.
    """
    try:
        if _open_file(path) is not None:
            return True
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # reported when it is written
        return False
    except (OSError, RuntimeError) as error:  # pathlib raises RuntimeError for links that form a cycle
        raise UserError(f"{path}: can't be written ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return True
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a disk" if stat.S_ISBLK(mode) else "a socket"
        raise UserError(f"{path}: is {kind}; expected a file, or the name of a new one")
    return False


def require_replaceable_file(path: Path) -> Path | None:
    """Return the file that `path` leads to, links followed; None if `path` is written to, not replaced.

    Raises the UserErrors of `is_written_into`, and one if the file may not be written to.
    """
    if is_written_into(path):
        return None
    place = path.resolve()
    if place.exists() and not os.access(place, os.W_OK):
        raise UserError(f"{path}: is read-only; make it writable, or name another file")
    require_writable(place.parent)
    return place


def require_separate(outputs: Sequence[Path], inputs: Iterable[Path | None]) -> None:
    """Raise UserError if an output can't be written, is an input or in one, or is named twice."""
    places: dict[Path, Path] = {}
    given = [one.resolve() for one in inputs if one is not None]
    for output in outputs:
        place = require_replaceable_file(output)
        if place is None:
            continue
        if place in places:
            raise UserError(f"{output}: is named twice, also as {places[place]}; name another file")
        if place.exists() and any(place.is_relative_to(one) for one in given):
            raise UserError(f"{output}: is an input, or in one, and would be replaced; name another file")
        places[place] = output


def held(path: Path) -> Path:
    """Return a path to the same file as `path` that stays valid after this process closes its standard streams.

    Raises the UserErrors of `is_written_into`.
    """
    is_written_into(path)
    descriptor = _open_file(path)
    if descriptor is None:
        return path
    try:
        return Path(f"/proc/{os.getpid()}/fd/{os.dup(descriptor)}")
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from None


def _open_file(path: Path) -> int | None:
    """Return the descriptor of this process's open file that `path` leads to, None if it leads elsewhere."""
    for _ in range(MOST_LINKS):
        place = path.parent.resolve() / path.name
        if found := OPEN_FILE.fullmatch(str(place)):
            return int(found[2]) if int(found[1]) == os.getpid() else None
        if not place.is_symlink():
            return None
        path = place.parent / place.readlink()
    return None


def _write_into(path: Path, content: bytes) -> None:
    """Write to a path that exists and is not a regular file."""
    own = _open_file(path)
    try:
        descriptor = os.dup(own) if own is not None else os.open(path, os.O_WRONLY | os.O_NOCTTY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from None


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name[:SHOWN_CHARACTERS]}.{os.getpid()}-{os.urandom(4).hex()}.partial")


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file, or a copy of it where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, complete or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as beside:
        beside.write_bytes(text.encode(errors="backslashreplace"))  # a lone surrogate becomes its JSON escape


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the JSON object in a file; raise UserError, with the `remedy`, if the file has no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); {remedy}") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise UserError(f"{path}: expected a JSON object ({error}); {remedy}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object; {remedy}")
    return value


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
