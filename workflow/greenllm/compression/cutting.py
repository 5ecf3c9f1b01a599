"""Cuts a decoder down to its most important parts: an ordinary, smaller model of the same architecture."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from greenllm.compression.importance import Importance
from greenllm.compression.llama_like import LlamaLike
from greenllm.compression.shares import Shape, remaining
from greenllm.errors import UserError

# Keys of model configurations with one entry per layer.
PER_LAYER = ("layer_types", "no_rope_layers", "mlp_layer_types")


@dataclass(frozen=True)
class Kept:
    """The parts of one layer to keep, as ascending indices."""

    layer: int
    groups: list[int]
    neurons: list[int]


def choose(importance: Importance, shape: Shape, *, heads: float, feed_forward: float, layers: float) -> list[Kept]:
    """Return what to keep if the least important shares (0 to 1) of heads, neurons and layers are removed.

    Raises `UserError` if a share is not a whole number of key-value groups or layers.
    """
    left = remaining(shape, heads=heads, feed_forward=feed_forward, layers=layers)
    return [
        Kept(layer, _best(importance.groups[layer], left.groups), _best(importance.neurons[layer], left.neurons))
        for layer in _best(importance.layers, left.layers)
    ]


def cut(decoder: LlamaLike, kept: Sequence[Kept]) -> Any:
    """Return a new network of the kept parts: same architecture, smaller configuration."""
    config = copy.deepcopy(decoder.network.config)
    shape = decoder.shape
    config.num_hidden_layers = len(kept)
    config.num_key_value_heads = len(kept[0].groups)
    config.num_attention_heads = len(kept[0].groups) * shape.heads_per_group
    config.head_dim = shape.head_width
    config.intermediate_size = len(kept[0].neurons)
    for name in PER_LAYER:
        if entries := getattr(config, name, None):
            setattr(config, name, [entries[one.layer] for one in kept])
    weights = decoder.network.state_dict()
    inside = f"{decoder.prefix}."
    chosen = {name: weight for name, weight in weights.items() if not name.startswith(inside)}
    for index, one in enumerate(kept):
        old = f"{inside}{one.layer}."
        for name, weight in weights.items():
            if name.startswith(old):
                part = name.removeprefix(old)
                chosen[f"{inside}{index}.{part}"] = _part(part, weight, one, shape)
    smaller = AutoModelForCausalLM.from_config(config, dtype=decoder.network.dtype)
    try:
        smaller.load_state_dict(chosen)
    except RuntimeError as error:
        raise UserError(
            f"prune: {type(decoder.network).__name__} divides its weights in a way that pruning does not know; leave "
            f"this recipe out for this model ({' '.join(str(error).split())[:200]})"
        ) from None
    smaller.generation_config = copy.deepcopy(decoder.network.generation_config)
    return smaller.eval()


def _best(importance: torch.Tensor, count: int) -> list[int]:
    """Return the indices of the `count` most important parts, ascending; the first of equal ones."""
    order = importance.argsort(descending=True, stable=True)
    return sorted(order[:count].tolist())


def _part(name: str, weight: torch.Tensor, kept: Kept, shape: Shape) -> torch.Tensor:
    """Return the kept part of a weight or bias of a layer."""
    module, _, kind = name.rpartition(".")
    module = module.rpartition(".")[2]
    keys = _ranges(kept.groups, shape.head_width)
    queries = _ranges(kept.groups, shape.head_width * shape.heads_per_group)
    rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "gate_proj": kept.neurons, "up_proj": kept.neurons}
    columns = {"o_proj": queries, "down_proj": kept.neurons}
    if module in rows:
        return weight[rows[module]]
    if module in columns and kind == "weight":
        return weight[:, columns[module]]
    return weight


def _ranges(blocks: Sequence[int], width: int) -> list[int]:
    return [index for block in blocks for index in range(block * width, (block + 1) * width)]
