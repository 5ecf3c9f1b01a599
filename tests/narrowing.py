"""What a test knows about the types of what it reads."""

import subprocess
from typing import IO, TypeVar

Value = TypeVar("Value")


def known(value: Value | None) -> Value:
    """Return a value that the test expects to be known; it fails where the value is None."""
    assert value is not None
    return value


class Piped(subprocess.Popen[str]):
    """A process whose streams, as far as the test uses them, are pipes."""

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]
