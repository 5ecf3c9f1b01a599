"""Cleaning of text, with counts of the changes."""

import re
import unicodedata
from collections import Counter

# Control characters except white space, and marks without width or meaning that copied text may contain:
# soft hyphen, zero-width space, byte order mark.
INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\ufeff]")


def clean(text: str, counts: Counter[str]) -> str:
    """Return `text` in Unicode's composed form (NFC), trimmed, without invisible characters.

    `counts` counts the changed texts: `composed`, `invisible_characters`, `trimmed`.
    """
    composed = unicodedata.normalize("NFC", text)
    visible = INVISIBLE.sub("", composed)
    trimmed = visible.strip()
    counts["composed"] += composed != text
    counts["invisible_characters"] += visible != composed
    counts["trimmed"] += trimmed != visible
    return trimmed


def normalised(text: str) -> str:
    """Return the words of a text without case, punctuation and spacing: equal for texts that count as the same."""
    return " ".join(re.findall(r"\w+", text.casefold())) or " ".join(text.split())
