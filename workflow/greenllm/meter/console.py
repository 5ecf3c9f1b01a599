"""The standard streams, which belong to the job: messages go to stderr, and closed streams stay closed."""

import contextlib
import os
import sys


def warn(message: str) -> None:
    """Print one line on stderr. Never raises: the job may have closed it."""
    with contextlib.suppress(OSError, ValueError):
        print(f"greenllm meter: {message}", file=sys.stderr, flush=True)


def hold_closed_streams() -> None:
    """Open /dev/null in place of each closed standard stream, so that no file of the meter gets its descriptor.

    It is closed again for the job. Call this before any file is opened.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # takes the lowest free number, which is this one
    if sys.stderr is None:  # print() would write to stdout instead
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def let_go_of_standard_streams() -> None:
    """Leave stdin and stdout to the command, once it runs: the meter must not hold their pipes open."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1):
        with contextlib.suppress(OSError):
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)
