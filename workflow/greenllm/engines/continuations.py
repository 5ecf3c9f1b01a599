"""The likelihood of continuations: the probability of a text's end, given its beginning (teacher forcing)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from greenllm.engines import ContinuationLikelihood, Prompt, PromptError, PromptTooLong
from greenllm.engines.scoring import batches
from greenllm.engines.text import Text


@dataclass(frozen=True)
class Continuation:
    """Token ids of a context and its continuation; those from index `first` on are the continuation."""

    pair: int  # index of the pair
    ids: list[int]
    first: int


@dataclass(frozen=True)
class ScoredEnd:
    """The sum of -log p (nats) over the tokens at a row's end, and whether each is the most probable one."""

    nats: float
    greedy: bool


# Rows of token ids, and for each row the index of its first scored token → the scores of the rows' ends.
ScoreEnds = Callable[[list[list[int]], list[int]], list[ScoredEnd]]


def loglikelihoods(
    pairs: Sequence[tuple[str, str]], text: Text, context: int, score: ScoreEnds, most_together: int
) -> list[ContinuationLikelihood]:
    """Return the likelihood of each continuation; see `ScoresTexts.loglikelihoods`.

    `score` takes at most `most_together` rows. Every row is read whole: a cache that rows with an equal context share
    would change the sums by some 1e-5 nats.
    """
    rows = [_encoded(text, index, pair, context) for index, pair in enumerate(pairs)]
    rows.sort(key=lambda row: -len(row.ids))
    found: dict[int, ContinuationLikelihood] = {}
    for batch in batches(rows, text.tokenizer.get_vocab_size(), most_together):
        scores = score([row.ids for row in batch], [row.first for row in batch])
        for row, end in zip(batch, scores, strict=True):
            found[row.pair] = ContinuationLikelihood(
                nats=end.nats,
                tokens=len(row.ids) - row.first,
                bytes=len(pairs[row.pair][1].encode()),
                greedy=end.greedy,
                context_tokens=row.first,
            )
    return [found[index] for index in range(len(pairs))]


def _encoded(text: Text, index: int, pair: tuple[str, str], longest: int) -> Continuation:
    before, after = _ids(text, *pair)
    if not before:
        raise PromptError("the context is empty; expected at least one token before a continuation")
    if not after:
        raise PromptError(f"the continuation {str(pair[1])!r} has no token of its own; expected at least one")
    if len(after) > longest:
        raise PromptTooLong(
            f"the continuation has {len(after)} tokens, and the model reads at most {longest}; shorten it"
        )
    # The last token is only predicted, so a row may be one token longer than what the model reads.
    kept = before[max(0, len(before) + len(after) - longest - 1) :]
    return Continuation(index, kept + after, len(kept))


def _ids(text: Text, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Return the token ids of a context and of its continuation."""
    if isinstance(context, Prompt):
        if isinstance(continuation, Prompt):
            return text.prompt_ids(context), list(continuation.ids)
        return text.prompt_ids(context), text.tokenizer.encode(continuation, add_special_tokens=False).ids
    stripped = context.rstrip()
    before = text.prompt_ids(stripped) if stripped else []
    return before, text.prompt_ids(context + continuation)[len(before) :]
