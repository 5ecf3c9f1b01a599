"""Server-sent events, as the WHATWG's HTML standard defines them (section 9.2, Server-sent events)."""

import json
import re
from collections.abc import Iterator

MEDIA_TYPE = "text/event-stream"
# The only line ends in the standard. str.splitlines knows more, and an answer may contain those.
END_OF_LINE = re.compile("\r\n|\n|\r")
# Escaped, because many clients split lines at these as well.
ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def event(content: object) -> bytes:
    """Return an event whose data is JSON."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text.translate(ESCAPED)}\n\n".encode()


def data_of(stream: bytes) -> Iterator[str]:
    """Yield the data of each event in a whole stream; the last event may lack its empty line."""
    data: list[str] = []
    for line in [*END_OF_LINE.split(stream.decode("utf-8-sig", errors="replace")), ""]:
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
