"""The command of another OpenAI server (`deploy.server`): checked before anything runs, then filled in."""

import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from greenllm.errors import UserError
from greenllm.paths import expanded

BRACED = re.compile(r"\{(\w+)\}")
# A virtual environment beside the project's own (`make vllm`).
OUR_ENVIRONMENT = re.compile(r"(?:^|/)\.venv-(\w+)/bin/")
KNOWN = ("context", "model", "name", "port")


def server_words(server: str) -> list[str]:
    """Return the words of a server's command, split as by a shell; `~` is the home folder.

    Raises UserError if it is not a command, the command is not installed, or a name in braces is not one of `KNOWN`.
    """
    try:
        words = [str(expanded(Path(word))) if word.startswith("~") else word for word in shlex.split(server)]
    except ValueError as error:
        raise UserError(f"deploy.server: {server}: {error}; expected a command as in a shell") from None
    for name in BRACED.findall(server):
        if name not in KNOWN:
            braced = ", ".join(f"{{{known}}}" for known in KNOWN)
            raise UserError(f"deploy.server: {{{name}}} is not known; expected {braced}")
    if not words or shutil.which(words[0]) is None:
        if words and (ours := OUR_ENVIRONMENT.search(words[0])):
            raise UserError(
                f"deploy.server: needs the environment {ours[1]}, which is missing; `make {ours[1]}` makes it"
            )
        raise UserError(f"deploy.server: command not found: {words[0] if words else server!r}; install it")
    return words


def filled_in(words: list[str], values: Mapping[str, Callable[[], str]]) -> list[str]:
    """Return the words with each name in braces replaced by what its function in `values` returns."""
    return [BRACED.sub(lambda match: values[match[1]](), word) for word in words]
