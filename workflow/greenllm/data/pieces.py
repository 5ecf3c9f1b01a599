"""Long texts in pieces: a tokenizer holds a hundred times the memory of the text that it reads at once."""

from collections.abc import Iterator

LONGEST = 16_384  # characters of a piece


def pieces(text: str, longest: int = LONGEST) -> Iterator[str]:
    """Cut a text into pieces of at most `longest` characters, before a blank that follows a word.

    Tokenizers that cut at words, as those that are trained here do, read the same tokens in the pieces as in the text.
    A piece without such a blank is cut anywhere.
    """
    start = 0
    while len(text) - start > longest:
        end = text.rfind(" ", start + 1, start + longest + 1)
        while end > 0 and text[end - 1].isspace():  # a run of blanks stays together
            end = text.rfind(" ", start + 1, end)
        end = end if end > 0 else start + longest
        yield text[start:end]
        start = end
    yield text[start:]
