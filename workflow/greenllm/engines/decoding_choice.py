"""How an answer is decoded: greedily, or sampled with a seed; where it stops, and what is reported of its tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Decoding:
    """How one answer is decoded. Greedy decoding is the default.

    An answer that is sampled depends on its prompt and its seed, not on the answers that it is batched with.
    """

    temperature: float = 0.0
    """Divides the logits before a token is sampled; 0: the most likely token is taken."""
    top_p: float = 1.0
    """Only the most likely tokens that together have this probability are sampled (0 to 1)."""
    seed: int = 0
    """Seed of the random numbers; without effect on greedy decoding."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts."""
    alternatives: int | None = None
    """Number of most likely tokens to report with each token's log probability; None: no log probabilities."""
    ignore_end: bool = False
    """Never choose the end token, so that the answer has as many tokens as it may have."""

    @property
    def sampled(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.temperature > 0

    @property
    def needs_logits(self) -> bool:
        """Whether decoding needs the logits, not only the most likely token."""
        return self.sampled or self.alternatives is not None or self.ignore_end


GREEDY = Decoding()


@dataclass(frozen=True)
class ScoredToken:
    """One token, as text of its own, and the log of the probability (nats) that the model assigns to it.

    The probabilities are those of the model itself, before a temperature or `top_p` changes them.
    """

    token: str
    log_probability: float | None
    """None for the first token of a prompt, which nothing precedes."""
    begins: int
    """Index, in the text, of the first character that the token adds."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """The most likely tokens in this place, the most likely first, and their log probabilities (nats)."""


@dataclass(frozen=True)
class ScoredPrompt:
    """A prompt as text, and each of its tokens."""

    text: str
    tokens: tuple[ScoredToken, ...]


class ScoredText(str):
    """New text of an answer, and the tokens that it is made of."""

    tokens: tuple[ScoredToken, ...]

    def __new__(cls, text: str, tokens: Iterable[ScoredToken]) -> Self:
        """Join a text and its tokens. A token inside a character has no text yet."""
        scored = super().__new__(cls, text)
        scored.tokens = tuple(tokens)
        return scored
