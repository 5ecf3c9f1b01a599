"""Time as it is written down."""

import time


def rfc3339(unix_s: float) -> str:
    """Return Unix time as RFC 3339 in UTC, to the millisecond."""
    seconds, milliseconds = divmod(round(unix_s * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"
