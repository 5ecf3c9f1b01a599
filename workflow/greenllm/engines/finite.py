"""Refuses likelihoods that are not finite: a model whose weights or activations overflow has no quality."""

import math
from collections.abc import Sequence

from greenllm.errors import UserError


def require_finite(nats: Sequence[float], names: Sequence[str], kind: str) -> None:
    """Raise UserError, which names the first of `names`, if a likelihood (-log p, nats) is not finite.

    `kind` says of what they are the likelihoods, as in `texts of test.parquet`.
    """
    bad = [name for name, value in zip(names, nats, strict=True) if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"the model's likelihood is not finite for {len(bad)} of {len(nats)} {kind} (the first is {bad[0]}): its "
            "weights or activations are not finite; train it again with a lower learning rate, or in fp32"
        )
