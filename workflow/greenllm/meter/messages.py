"""What the meter has to say: on stderr, since stdout is the job's."""

import contextlib
import sys


def tell(message: str) -> None:
    """Print one line. Never raises: the job may have closed stderr."""
    with contextlib.suppress(OSError, ValueError):
        print(f"greenllm meter: {message}", file=sys.stderr, flush=True)
