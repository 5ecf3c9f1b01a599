"""The log probability of each token of a prompt, given those before it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from greenllm.engines import PromptError, PromptTooLong
from greenllm.engines.decoded_answer import scored_token
from greenllm.engines.decoding_choice import ScoredPrompt, ScoredToken
from greenllm.engines.text import Detokenizer, Text


def scored_prompts(
    prompts: Sequence[str],
    text: Text,
    context: int,
    logits: Callable[[list[int]], NDArray[np.float32]],
    alternatives: int,
) -> list[ScoredPrompt]:
    """Return each prompt with its tokens' log probabilities; see `ScoresTokens.score_tokens`.

    `logits` returns the logits after each token of a row of ids, of shape (tokens, vocabulary). Each prompt is read
    alone: the logits of a long one take much memory.
    """
    rows = [text.prompt_ids(prompt) for prompt in prompts]
    for ids in rows:
        if not ids:
            raise PromptError("the prompt is empty; expected at least one token")
        if len(ids) > context:
            raise PromptTooLong(f"the prompt has {len(ids)} tokens; the model's context is {context}; shorten it")
    return [_scored(text, ids, logits(ids), alternatives) for ids in rows]


def _scored(text: Text, ids: list[int], logits: NDArray[np.float32], alternatives: int) -> ScoredPrompt:
    written = Detokenizer(text)
    tokens = [ScoredToken(text.token_text(ids[0]), None, 0)]
    written.add(ids[0])
    for before, id in zip(logits, ids[1:], strict=False):
        tokens.append(scored_token(text, id, before, alternatives, begins=written.length))
        written.add(id)
    return ScoredPrompt(written.text, tuple(tokens))
