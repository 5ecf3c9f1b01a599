"""Paths as users write them, and as they are written down."""

from pathlib import Path

from greenllm.errors import UserError


def expanded(path: Path) -> Path:
    """Return `path` with a leading `~` or `~name` as that user's home folder; raise UserError where there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(f"{path}: no home folder is known for {path.parts[0]}; write the folder out") from None


def printable(word: str) -> str:
    """Return a file name or word as text that can be written down, whatever bytes it holds."""
    return word.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
