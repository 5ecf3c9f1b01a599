"""Paths: with a user's `~` expanded, and as text that any file can hold."""

from pathlib import Path

from greenllm.errors import UserError


def expanded(path: Path) -> Path:
    """Return `path` with a leading `~` or `~name` replaced by that home folder; raise UserError if it is unknown."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(f"{path}: no home folder is known for {path.parts[0]}; write the folder out") from None


def printable(word: str) -> str:
    """Return a file name or word as valid Unicode; bytes that can't be decoded are replaced."""
    return word.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
