"""The next token by the logits of one row: sampled, and with its log probability."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from greenllm.engines.decoding_choice import Decoding


@dataclass(frozen=True)
class TokenScore:
    """The log of the probability (nats) of a token, and the ids and log probabilities of the most likely ones."""

    log_probability: float
    alternatives: tuple[tuple[int, float], ...]


class TokenChoice:
    """Chooses the tokens of one answer, by random numbers of its own."""

    def __init__(self, decoding: Decoding, end: Iterable[int]) -> None:
        self._decoding = decoding
        self._never = list(end) if decoding.ignore_end else []
        self._random = random.Random(str(decoding.seed))  # a text, as the sign of a number would be ignored

    def choose(self, logits: NDArray[np.float32]) -> int:
        """Return the id of the next token, by the logits of shape (vocabulary,)."""
        if self._never:
            logits = logits.copy()
            logits[self._never] = -np.inf
        if not self._decoding.sampled:
            return int(logits.argmax())
        return sampled(logits, self._decoding.temperature, self._decoding.top_p, self._random.random())


def sampled(logits: NDArray[np.float32], temperature: float, top_p: float, uniform: float) -> int:
    """Return the id of a token, sampled by the logits of shape (vocabulary,), for a `uniform` random number in [0, 1).

    With `top_p` < 1 only the nucleus is sampled: the smallest set of most likely tokens that together have at least
    this probability (Holtzman et al., 2020, arXiv:1904.09751).
    """
    with np.errstate(over="ignore"):  # the logits of unlikely tokens go to minus infinity at a temperature near 0
        weights = np.exp((logits.astype(np.float64) - float(logits.max())) / temperature)
    weights /= weights.sum()
    ids = None
    if top_p < 1:
        # Tokens less likely than this have less than 1 - top_p together, so none of them is in the nucleus.
        ids = np.flatnonzero(weights >= min((1 - top_p) / weights.size, weights.max()))
        ids = ids[np.argsort(-weights[ids], kind="stable")]
        ids = ids[: int(np.searchsorted(weights[ids].cumsum(), top_p)) + 1]
        weights = weights[ids]
    below = weights.cumsum()
    place = min(int(np.searchsorted(below, uniform * below[-1], side="right")), weights.size - 1)
    return place if ids is None else int(ids[place])


def score(logits: NDArray[np.float32], token: int, alternatives: int) -> TokenScore:
    """Return the score of a token by the logits of shape (vocabulary,), with this number of most likely tokens."""
    shifted = logits.astype(np.float64) - float(logits.max())
    log_probabilities = shifted - np.log(np.exp(shifted).sum())
    most = min(alternatives, logits.size)
    best = np.argpartition(-logits, most - 1)[:most] if most else np.empty(0, dtype=np.intp)
    best = best[np.lexsort((best, -logits[best]))]
    return TokenScore(float(log_probabilities[token]), tuple((int(id), float(log_probabilities[id])) for id in best))
