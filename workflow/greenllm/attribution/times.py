"""Time as it is written down."""

from datetime import UTC, datetime


def rfc3339(unix_s: float) -> str:
    """Return Unix time as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
