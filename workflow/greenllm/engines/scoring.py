"""The likelihood of texts: the probability of each token, given those before it (teacher forcing)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from greenllm.engines import Likelihood, Prompt
from greenllm.engines.text import Text

# Most logits computed at once: 64 MB in fp32.
MOST_LOGITS = 2**24


class Row(Protocol):
    """Token ids that a model reads together."""

    @property
    def ids(self) -> list[int]:
        """The token ids."""


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True)
class ContextWindow:
    """A part of a text that fits in the context; its first token is not scored."""

    text: int  # index of the text
    ids: list[int]


def likelihoods(
    texts: Sequence[str],
    text: Text,
    context: int,
    nats: Callable[[list[list[int]]], list[float]],
    most_together: int,
) -> list[Likelihood]:
    """Return the likelihood of each of `texts`; see `ScoresTexts.score`.

    `nats` returns -log p of all tokens but the first, for each row of token ids; it takes at most `most_together` rows.
    """
    rows, begins = zip(*(_encoded(text, one) for one in texts), strict=True) if texts else ((), ())
    windows = [window for index, ids in enumerate(rows) for window in _windows(index, ids, context)]
    windows.sort(key=lambda window: -len(window.ids))
    totals = [0.0] * len(texts)
    for batch in batches(windows, text.tokenizer.get_vocab_size(), most_together):
        for window, found in zip(batch, nats([window.ids for window in batch]), strict=True):
            totals[window.text] += found
    return [
        Likelihood(total, max(0, len(ids) - 1), len(whole[begin:].encode()))
        for whole, ids, begin, total in zip(texts, rows, begins, totals, strict=True)
    ]


def _encoded(text: Text, one: str) -> tuple[list[int], int]:
    """Return a text's token ids, and the index of the first scored character.

    That is the one after the first token, which may be one that the tokenizer added.
    """
    if isinstance(one, Prompt):
        ids = text.prompt_ids(one)
        first = text.decode(ids[:1])
        return ids, len(first) if one.startswith(first) else 0
    encoding = text.tokenizer.encode(one)
    return encoding.ids, encoding.offsets[0][1] if encoding.offsets else 0


def _windows(index: int, ids: list[int], context: int) -> Iterator[ContextWindow]:
    """Cut a text into windows that overlap by one token, so that each token but the first is scored once."""
    for start in range(0, len(ids) - 1, context - 1):
        yield ContextWindow(index, ids[start : start + context])


def window_lengths(scored_tokens: int, context: int) -> list[int]:
    """Return the number of tokens that are read to score each window of a text: all of it but its last token."""
    return [min(context - 1, scored_tokens - start) for start in range(0, scored_tokens, context - 1)]


def batches(rows: Sequence[AnyRow], vocabulary: int, most: int) -> Iterator[Sequence[AnyRow]]:
    """Divide rows, longest first, into batches of at most `most` rows whose logits fit in memory."""
    start = 0
    while start < len(rows):
        fitting = MOST_LOGITS // (len(rows[start].ids) * vocabulary)
        stop = start + min(max(1, fitting), most)
        yield rows[start:stop]
        start = stop
