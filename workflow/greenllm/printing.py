"""JSON on standard output, for other programs."""

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    """Print `value` as indented JSON; characters that the output's encoding lacks are escaped, as JSON allows."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    print(text)
