"""Echo: the prompt before its answer, in one text."""

import dataclasses
from collections.abc import Iterable

from greenllm.engines import Completion
from greenllm.engines.decoding_choice import ScoredPrompt, ScoredText, ScoredToken


def with_prompt(prompt: ScoredPrompt, completion: Completion) -> Completion:
    """Return an answer with its prompt before it, in its text and, where they are reported, its tokens."""
    scored = completion.scored
    if scored is not None:
        scored = (*prompt.tokens, *_moved(scored, len(prompt.text)))
    return dataclasses.replace(completion, text=prompt.text + completion.text, scored=scored)


def after_prompt(prompt: ScoredPrompt, piece: str) -> str:
    """Return a piece of an answer; its tokens begin where they do in the text with the prompt before it."""
    return ScoredText(piece, _moved(piece.tokens, len(prompt.text))) if isinstance(piece, ScoredText) else piece


def _moved(tokens: Iterable[ScoredToken], by: int) -> tuple[ScoredToken, ...]:
    return tuple(dataclasses.replace(token, begins=token.begins + by) for token in tokens)
