"""The decoders that structured pruning can cut, with their heads, feed-forward neurons and layers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from greenllm.compression.shares import Shape
from greenllm.errors import UserError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LlamaLike:
    """A dense Llama-like decoder: network, layers, the prefix of their weights' names, and shape."""

    network: Any
    layers: list[Any]
    prefix: str
    shape: Shape


def decoder_of(network: Any, folder: Path) -> LlamaLike:
    """Find the layers of a decoder such as Llama, Qwen2, Qwen3, Gemma or Mistral.

    Raises `UserError` if a layer lacks one of the seven projections, as in Phi-3 (fused), mixtures of experts, GPT-2.
    """
    kind = type(network).__name__
    layers = getattr(network.get_decoder(), "layers", None)
    if layers is None:
        raise _unknown(folder, kind, "layers")
    for layer in layers:
        for part, names in (("self_attn", ATTENTION), ("mlp", FEED_FORWARD)):
            for name in names:
                if not isinstance(getattr(getattr(layer, part, None), name, None), nn.Linear):
                    raise _unknown(folder, kind, f"{part}.{name}")
    config = network.config
    first = layers[0]
    groups = config.num_key_value_heads or config.num_attention_heads
    return LlamaLike(
        network=network,
        layers=list(layers),
        prefix=next(name for name, module in network.named_modules() if module is layers),
        shape=Shape(
            layers=len(layers),
            groups=groups,
            heads_per_group=config.num_attention_heads // groups,
            head_width=first.self_attn.q_proj.out_features // config.num_attention_heads,
            feed_forward=first.mlp.down_proj.in_features,
        ),
    )


def _unknown(folder: Path, kind: str, missing: str) -> UserError:
    return UserError(
        f"{folder}: {kind} has no {missing}, so it cannot be pruned; expected a dense Llama-like decoder (Llama, "
        "Qwen, Gemma, Mistral …), or leave this recipe out for this model"
    )
