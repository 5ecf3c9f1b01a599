"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) by peft: laid over a network, and merged into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from greenllm.errors import UserError

# Adapter and merged model compute the same product, in another order of rounding.
LARGEST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Adapter:
    """An adapter apart from its network: peft's settings and the low-rank weights, by name."""

    settings: LoraConfig
    weights: dict[str, torch.Tensor]

    def save(self, folder: Path) -> None:
        """Write the adapter as peft reads it: `PeftModel.from_pretrained(network, folder)`."""
        self.settings.save_pretrained(str(folder))
        save_file(self.weights, folder / "adapter_model.safetensors")


@dataclass(frozen=True)
class Merged:
    """A network with its adapter merged in, and by how much its logits differ from the adapted one's."""

    network: Any
    adapter: Adapter
    largest_difference: float


def adapt(network: Any, *, rank: int, alpha: float, dropout: float, modules: Sequence[str] | None) -> Any:
    """Return the network with its weights frozen and an adapter to train over its linear layers.

    Args:
        network: a transformers model.
        rank: of the matrix that is added to each layer's.
        alpha: that matrix is scaled by alpha / rank.
        dropout: share of the adapter's inputs dropped in training.
        modules: names of the layers, such as `q_proj`; None for all but the output layer.

    Raises UserError where a module is not there.
    """
    known = _linear_layers(network)
    for module in modules or ():
        if module not in known:
            raise UserError(f"lora.modules: the model has no linear layer {module!r}; it has {', '.join(known)}")
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(modules or known),
    )
    return get_peft_model(network, settings)


def merge(adapted: Any) -> Merged:
    """Merge the adapter into its network, for deployment at the network's own cost.

    Raises ArithmeticError where the merged network computes something else, relative to its largest logit.
    """
    settings = adapted.peft_config["default"]
    settings.target_modules = sorted(settings.target_modules)  # peft's set is saved in an order of its own each time
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
    """Return the names of the linear layers beneath the output layer, each once, in their order."""
    output = network.get_output_embeddings()
    return list(
        dict.fromkeys(
            name.rpartition(".")[2]
            for name, module in network.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D) and module is not output
        )
    )
