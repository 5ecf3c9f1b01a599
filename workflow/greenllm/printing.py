"""JSON on standard output, for other programs."""

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    """Print `value` as indented JSON, in ASCII if the output's encoding lacks one of its characters."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    print(text)
