"""Text as words without case and accents; in a script without blanks between words each character is a word."""

import re
import unicodedata

# Thai, Lao, Myanmar, Khmer, kana, Han and hangul (in which particles are attached to the name).
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+")


def folded(text: str) -> str:
    """Return `text` without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(character for character in parts if unicodedata.category(character) != "Mn")
    return unicodedata.normalize("NFC", bare)


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text` without case, accents and punctuation."""
    return tuple(WORD.findall(folded(text)))
