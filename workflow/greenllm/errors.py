"""Mistakes of a user, and how a message quotes text: in one line of bounded length."""

import reprlib
from collections.abc import Sequence

LONGEST = 60  # characters quoted of a text
MOST_NAMES = 10
LONGEST_REASON = 200  # characters taken over from a library's message

_QUOTING = reprlib.Repr()
_QUOTING.maxstring = LONGEST


class UserError(Exception):
    """A mistake of the user, reported in one line: which file, key or row, what was expected, how to mend it.

    The command line prints the message without a traceback and exits with status 2.
    """


def quoted(text: str) -> str:
    """Return a user's text in quotes; if it is long, without its middle."""
    return _QUOTING.repr(text)


def listed(names: Sequence[str]) -> str:
    """Return names with commas between them: only the first ones of many, unprintable or long ones in quotes."""
    some = [name if name.isprintable() and len(name) <= LONGEST else quoted(name) for name in names[:MOST_NAMES]]
    return ", ".join(some) + (f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else "")


def reason(error: Exception) -> str:
    """Return the message of a library's error as one line of bounded length."""
    return shortened(str(error)) or type(error).__name__


def shortened(text: str) -> str:
    """Return a library's message as one line of bounded length."""
    return " ".join(text.split())[:LONGEST_REASON]
