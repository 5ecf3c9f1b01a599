"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) by peft: added to a network and merged into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from greenllm.training.adapted_layers import require_layers

# Adapter and merged model compute the same product but round in a different order.
LARGEST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Adapter:
    """An adapter without its network: peft's settings and the low-rank weights by name."""

    settings: LoraConfig
    weights: dict[str, torch.Tensor]

    def save(self, folder: Path) -> None:
        """Write the adapter as peft reads it: `PeftModel.from_pretrained(network, folder)`."""
        self.settings.save_pretrained(str(folder))
        save_file(self.weights, folder / "adapter_model.safetensors")


@dataclass(frozen=True)
class Merged:
    """A network with its adapter merged in; `largest_difference` of its logits is relative to the largest logit."""

    network: Any
    adapter: Adapter
    largest_difference: float


def adapt(network: Any, *, rank: int, alpha: float, dropout: float, modules: Sequence[str] | None) -> Any:
    """Return the network with its weights frozen and an adapter to train over its linear layers.

    Args:
        network: a transformers model.
        rank: rank of the matrix that is added to the weights of each layer.
        alpha: the added matrix is scaled by alpha / rank.
        dropout: share of the adapter's inputs that training drops.
        modules: names of linear layers, such as `q_proj`; None for all except the output layer.

    Raises UserError if the model has no such layer.
    """
    known = _linear_layers(network)
    require_layers(modules or (), known)
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(modules or known),
    )
    return get_peft_model(network, settings)


def merge(adapted: Any) -> Merged:
    """Merge the adapter into its network, so that inference costs no more than without an adapter.

    Raises ArithmeticError if the logits change by more than `LARGEST_DIFFERENCE`.
    """
    settings = adapted.peft_config["default"]
    settings.target_modules = sorted(settings.target_modules)  # a set, saved in a different order each time
    adapter = Adapter(settings, get_peft_model_state_dict(adapted))
    ids = _some_ids(adapted.config)
    with torch.no_grad():
        expected = adapted.eval()(input_ids=ids.to(adapted.device)).logits
        network = adapted.merge_and_unload()
        logits = network(input_ids=ids.to(network.device)).logits
    difference = ((logits - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
    if not difference <= LARGEST_DIFFERENCE:
        raise ArithmeticError(f"merging the adapter changed the logits by {difference:.1e}, relative to the largest")
    return Merged(network, adapter, difference)


def _some_ids(config: Any, rows: int = 4, length: int = 32) -> torch.Tensor:
    text = config.get_text_config()
    length = min(length, text.max_position_embeddings)
    return torch.randint(text.vocab_size, (rows, length), generator=torch.Generator().manual_seed(0))


def _linear_layers(network: Any) -> list[str]:
    """Return the distinct names of the linear layers in model order, without the output layer."""
    output = network.get_output_embeddings()
    return list(
        dict.fromkeys(
            name.rpartition(".")[2]
            for name, module in network.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D) and module is not output
        )
    )
