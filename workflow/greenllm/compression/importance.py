"""Importance of each head, feed-forward neuron and layer of a decoder, measured on training rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from greenllm.compression.llama_like import LlamaLike
from greenllm.tokens import read_tokenizer
from greenllm.training.batches import read_rows

FORMULAS = {
    # Wanda's score of a weight, |w|·‖x‖, its squares summed over the weights of one neuron.
    "feed_forward": "norm of the activation × norm of the column of down_proj (Wanda, arXiv 2306.11695)",
    "heads": "norm of what the heads of a key-value group add to the output (Minitron, arXiv 2407.14679)",
    "layers": "1 − mean cosine of a layer's input and output (ShortGPT, arXiv 2403.03853)",
}


@dataclass(frozen=True)
class Importance:
    """Importance by layer: `groups` (layers, key-value groups), `neurons` (layers, neurons), `layers` (layers)."""

    groups: torch.Tensor
    neurons: torch.Tensor
    layers: torch.Tensor


def measure(decoder: LlamaLike, rows: Sequence[Sequence[int]]) -> Importance:
    """Return the importance of a decoder's parts, measured in one forward pass over `rows` (token ids)."""
    shape = decoder.shape
    seen = [_LayerSums(layer, shape.groups * shape.heads_per_group) for layer in decoder.layers]
    device = next(decoder.network.parameters()).device
    handles = [handle for one in seen for handle in one.watch()]
    try:
        with torch.inference_mode():
            for row in rows:
                decoder.network(input_ids=torch.tensor([row], device=device), use_cache=False, logits_to_keep=1)
            groups = [one.heads().view(shape.groups, shape.heads_per_group).sum(dim=1).sqrt() for one in seen]
            neurons = [one.neurons() for one in seen]
    finally:
        for handle in handles:
            handle.remove()
    changes = [1 - one.cosines / one.tokens for one in seen]
    return Importance(
        groups=torch.stack(groups).cpu(),
        neurons=torch.stack(neurons).cpu(),
        layers=torch.tensor(changes),
    )


class _LayerSums:
    """Sums over all tokens in one layer."""

    def __init__(self, layer: Any, heads: int) -> None:
        self._layer, self._heads = layer, heads
        output = layer.self_attn.o_proj.weight
        width = output.shape[1] // heads
        # Products of a head's outputs with each other, from which its norm after o_proj follows.
        self._products = torch.zeros(heads, width, width, device=output.device)
        self._squares = torch.zeros(layer.mlp.down_proj.in_features, device=output.device)
        self.cosines = 0.0
        self.tokens = 0

    def watch(self) -> list[Any]:
        return [
            self._layer.self_attn.o_proj.register_forward_pre_hook(self._attended),
            self._layer.mlp.down_proj.register_forward_pre_hook(self._activated),
            self._layer.register_forward_hook(self._passed),
        ]

    def heads(self) -> torch.Tensor:
        """Return, for each head h, Σ over tokens of ‖W_h·c‖², where c is the head's output; shape (heads,)."""
        output = self._layer.self_attn.o_proj.weight.float()
        weights = output.view(output.shape[0], self._heads, -1)
        return torch.einsum("ohd,hde,ohe->h", weights, self._products, weights).clamp(min=0)

    def neurons(self) -> torch.Tensor:
        """Return ‖a‖·‖W[:, j]‖ of each feed-forward neuron j, where a are its activations; shape (neurons,)."""
        norms: torch.Tensor = torch.linalg.vector_norm(self._layer.mlp.down_proj.weight.float(), dim=0)
        return self._squares.sqrt() * norms

    def _attended(self, _module: Any, inputs: tuple[Any, ...]) -> None:
        heads = inputs[0].float().flatten(end_dim=-2).unflatten(-1, (self._heads, -1))
        self._products += torch.einsum("thd,the->hde", heads, heads)

    def _activated(self, _module: Any, inputs: tuple[Any, ...]) -> None:
        self._squares += inputs[0].float().flatten(end_dim=-2).square().sum(dim=0)

    def _passed(self, _module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        before, after = inputs[0].float(), (output[0] if isinstance(output, tuple) else output).float()
        cosine = functional.cosine_similarity(before, after, dim=-1)
        self.cosines += float(cosine.sum())
        self.tokens += cosine.numel()


def calibration_rows(data: Path, context: int, most: int) -> list[list[int]]:
    """Return the inputs (token ids) of at most `most` training rows, spread evenly over the data."""
    tokenizer = read_tokenizer(data / "tokenizer")
    # The last token of a row, the end token, is only a target, so any id will do.
    inputs = [row.ids[:-1] for row in read_rows(data / "train.parquet", tokenizer, eos_id=0, context=context).rows]
    whole = [ids for ids in inputs if ids]
    count = min(most, len(whole))
    return [whole[index * len(whole) // count] for index in range(count)]
