"""Time as it is written down."""

import time
from datetime import UTC, datetime

YEARS = range(2000, 2100)  # of a time that is read; one outside of them is a mistake


def rfc3339(unix_s: float) -> str:
    """Return Unix time as RFC 3339 in UTC, to the millisecond."""
    seconds, milliseconds = divmod(round(unix_s * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"


def read_time(text: str) -> float:
    """Return a time (RFC 3339 with its zone, or Unix time in s) as Unix time. Raises ValueError for another text."""
    try:
        found = datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):  # a text, nan, infinity, or a number that is no date
        found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    if found.year not in YEARS:
        raise ValueError(f"{text} is not between {YEARS.start} and {YEARS.stop}")
    return found.timestamp()
