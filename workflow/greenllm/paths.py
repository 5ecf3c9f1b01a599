"""Paths as users write them."""

from pathlib import Path

from greenllm.errors import UserError


def expanded(path: Path) -> Path:
    """Return `path` with a leading `~` or `~name` as that user's home folder; raise UserError where there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(f"{path}: no home folder is known for {path.parts[0]}; write the folder out") from None
