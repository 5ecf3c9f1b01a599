"""Long words: runs of letters, of digits or of signs without a break, of which a tokenizer needs no more than a part.

A tokenizer in training holds a table of all pairs of neighbours in its words. Natural text repeats its words; a text
that is one word has nearly as many pairs as characters, a hundred times its memory.
"""

import re
from collections.abc import Iterable, Iterator

LONG = 1_000  # characters from which a word is long
KEPT = 100_000  # characters of all long words together
_BLANK_FREE = re.compile(rf"(?<!\S)\S{{{LONG}}}")
_WORD = re.compile(
    rf"(?<![^\W\d_])[^\W\d_]{{{LONG},}}"  # letters
    rf"|(?<!\d)\d{{{LONG},}}"
    rf"|(?<![^\w\s]|_)(?:[^\w\s]|_){{{LONG},}}"  # signs
)


def with_part_of_long_words(texts: Iterable[str], kept: int = KEPT) -> Iterator[str]:
    """Return the texts; once their long words together have `kept` characters, the rest of such words is left out."""
    left = kept

    def shortened(word: re.Match[str]) -> str:
        nonlocal left
        part = word[0][:left]
        left -= len(part)
        return part

    for text in texts:
        yield _WORD.sub(shortened, text) if _BLANK_FREE.search(text) else text
