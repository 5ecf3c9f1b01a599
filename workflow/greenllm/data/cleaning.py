"""Cleaning of text, with counts of what was changed."""

import re
import unicodedata
from collections import Counter

# Control characters that are no white space, and marks without width or meaning that copied text carries along:
# soft hyphen, zero-width space, byte order mark.
INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\ufeff]")


def clean(text: str, counts: Counter[str]) -> str:
    """Return `text` in Unicode's composed form (NFC), without invisible characters, its ends trimmed.

    Counts in `counts` the texts changed: `composed`, `invisible_characters`, `trimmed`.
    """
    composed = unicodedata.normalize("NFC", text)
    visible = INVISIBLE.sub("", composed)
    trimmed = visible.strip()
    counts["composed"] += composed != text
    counts["invisible_characters"] += visible != composed
    counts["trimmed"] += trimmed != visible
    return trimmed


def normalised(text: str) -> str:
    """Return what makes two texts the same: their words, without case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+", text.casefold())) or " ".join(text.split())
