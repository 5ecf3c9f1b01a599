"""Text as words: without case and accents, and one word a character where a script sets no blanks between words."""

import re
import unicodedata

# Thai, Lao, Myanmar, Khmer, kana, Han and hangul (whose particles are written onto the name).
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+")


def folded(text: str) -> str:
    """Return `text` without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(character for character in parts if unicodedata.category(character) != "Mn")
    return unicodedata.normalize("NFC", bare)


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text`, case and accents folded, punctuation left out."""
    return tuple(WORD.findall(folded(text)))
