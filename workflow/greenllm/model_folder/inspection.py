"""What is known of the Hugging Face model in a folder without its weights: parameters, context, operations."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.model_folder.flops import ModelFlops, count_flops
from greenllm.model_folder.manifest import EngineName, Manifest, Precision


def manifest_of(folder: Path, *, engine: EngineName = "transformers", precision: Precision = "fp32") -> Manifest:
    """Return the manifest of a model made from the Hugging Face model in `folder`.

    Raises `UserError` if `folder` has no causal language model of Hugging Face, or the model's context is unknown.
    """
    config = read_config(folder)
    flops = try_to_count(config)
    return Manifest(
        engine=engine,
        precision=precision,
        parameters=parameters_of(folder),
        context=context_of(config, folder),
        forward_flops=flops.forward if flops else None,
    )


def parameters_of(folder: Path) -> int:
    """Return the number of a model's parameters; raise `UserError` as `manifest_of` does."""
    return sum(weight.numel() for weight in without_weights(folder).parameters())


def read_config(folder: Path) -> Any:
    """Return the configuration of a Hugging Face model folder; raise `UserError` if it has none."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json in it; expected a Hugging Face model folder")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'}: {' '.join(str(error).split())[:300]}") from None


def without_weights(folder: Path) -> Any:
    """Return the network of a model folder on the meta device; raise `UserError` if it is no causal language model."""
    import torch
    from transformers import AutoModelForCausalLM

    config = read_config(folder)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except ValueError:
        raise UserError(
            f"{folder / 'config.json'}: {config.model_type} is no causal language model that transformers knows; "
            "expected one such as Llama, Qwen or Gemma"
        ) from None


def context_of(config: Any, folder: Path) -> int:
    """Return a model's longest sequence in tokens."""
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not longest:
        raise UserError(f"{folder / 'config.json'}: max_position_embeddings is missing: the model's context is unknown")
    return int(longest)


def try_to_count(config: Any, adapt: Callable[[Any], Any] = lambda network: network) -> ModelFlops | None:
    """Count an adapted model's operations; None for an architecture that the meta device cannot run."""
    try:
        return count_flops(config, adapt)
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        print(f"the operations of {type(config).__name__} cannot be counted: {error}", file=sys.stderr)
        return None
