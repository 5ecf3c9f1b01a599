"""Floating-point operations of a decoder, counted once on the meta device: no numbers are computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Flops:
    """Operations for one sequence of n tokens: `per_token`·n + `per_pair`·n².

    The matrix products with weights grow with the tokens, attention's two products with the pairs of tokens
    (all n² of them: the kernels in use compute the masked half too, or pad to it).
    """

    per_token: float
    per_pair: float

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.per_token + other.per_token, self.per_pair + other.per_pair)

    def of(self, length: int, sequences: int = 1) -> float:
        """Operations for `sequences` sequences of `length` tokens each, padding included."""
        return sequences * length * (self.per_token + self.per_pair * length)

    @classmethod
    def fitted(cls, first: tuple[int, float], second: tuple[int, float]) -> Self:
        """Return the one polynomial through the counts at two lengths, each as (tokens, operations)."""
        (n, f), (m, g) = first, second
        per_pair = (g / m - f / n) / (m - n)
        return cls(per_token=f / n - per_pair * n, per_pair=per_pair)


@dataclass(frozen=True)
class ModelFlops:
    """What a decoder computes to answer (`forward`) and to learn (`training`: forward and backward)."""

    forward: Flops
    training: Flops


def count_flops(config: Any, adapt: Callable[[Any], Any] = lambda network: network) -> ModelFlops:
    """Count a causal language model's operations with PyTorch's FlopCounterMode.

    One multiply-add is two operations; only matrix products are counted (norms, activations and the optimiser's
    step are below 2 % even of a tiny model). Agrees with 6·N·D + 12·L·d·T·D (Kaplan et al. 2020, arXiv 2001.08361,
    with attention's products added) where N are the parameters in matrix products.

    Args:
        config: a transformers configuration of a causal language model.
        adapt: what is done to the model before it is trained: frozen weights need no gradients.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    # Fused attention kernels exist for real devices only, so attention is written out here.
    with torch.device("meta"):
        model = adapt(AutoModelForCausalLM.from_config(config, attn_implementation="eager"))
    lengths = (8, 16)
    forward, training = [], []
    for length in lengths:
        ids = torch.zeros(1, length, dtype=torch.long, device="meta")
        with FlopCounterMode(display=False) as counter:
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
            forward.append((length, float(counter.get_total_flops())))
            logits.sum().backward()
        training.append((length, float(counter.get_total_flops())))
    return ModelFlops(forward=Flops.fitted(*forward), training=Flops.fitted(*training))
