"""What a prompt token, a generated token and an idle second cost, as a server's own sampling intervals show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

# A generated token costs as much as this number of prompt tokens, until the server has found it out itself. A prompt's
# tokens are computed together, generated ones one by one. Measured on 2026-11-29 of SmolLM2-135M (PyTorch, fp32, one
# core of an AMD EPYC of the 4th generation), one answer at a time; less where answers are generated together.
GENERATED_TO_PROMPT = 17.0

# The intervals that a regression needs, and how well the columns must be told apart: the condition number of the
# matrix of scaled columns (Belsley, Kuh, Welsch 1980: collinear from about 30 on).
LEAST_INTERVALS, MOST_COLLINEAR = 30, 30.0


class IntervalWork(NamedTuple):
    """What happened in one sampling interval of `span_s` seconds: idle seconds, tokens, and the energy (J)."""

    span_s: float
    idle_s: float
    prompt_tokens: float
    generated_tokens: float
    energy_J: float


@dataclass(frozen=True)
class TokenCosts:
    """The cost of a token of each kind, in joules where `idle_W` is known, else in proportion to each other.

    `idle_W`: the power while no request is worked on; None where it is unknown.
    """

    prompt_token: float = 1.0
    generated_token: float = GENERATED_TO_PROMPT
    idle_W: float | None = None

    def of(self, prompt_tokens: float, generated_tokens: float) -> float:
        """Return the cost of so many tokens."""
        return self.prompt_token * prompt_tokens + self.generated_token * generated_tokens

    def idle_part(self, work: IntervalWork) -> float:
        """Return the part (0 to 1) of an interval's energy that is idle; by time where the idle power is unknown."""
        busy_J = self.of(work.prompt_tokens, work.generated_tokens)
        if self.idle_W is not None and busy_J > 0:
            idle_J = self.idle_W * work.idle_s
            return idle_J / (idle_J + busy_J)
        return min(1.0, work.idle_s / work.span_s)


def found_costs(intervals: Sequence[IntervalWork]) -> TokenCosts | None:
    """Return the costs (J) that explain the energies of intervals best: least squares, none negative.

    None where there are too few intervals, or they are too much alike to tell the kinds of work apart.
    """
    if len(intervals) < LEAST_INTERVALS:
        return None
    import numpy as np
    from scipy.optimize import nnls

    _, *columns, energy_J = np.array(intervals, dtype=float).T
    idle_s, prompt_tokens, generated_tokens = columns
    work = np.column_stack([*columns] if idle_s.any() else [prompt_tokens, generated_tokens])
    size = np.linalg.norm(work, axis=0)
    if not size.all() or np.linalg.cond(work / size) > MOST_COLLINEAR:
        return None
    scaled, _ = nnls(work / size, energy_J)
    *idle_W, prompt_token_J, generated_token_J = (float(cost) for cost in scaled / size)
    if generated_token_J <= 0:
        return None
    return TokenCosts(prompt_token_J, generated_token_J, *idle_W)
