"""`greenllm.json`: what a model folder says of the model in it."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from greenllm.errors import UserError
from greenllm.model_folder.flops import ModelFlops, count_flops


def manifest(
    folder: Path,
    *,
    engine: Literal["transformers", "onnxruntime-genai"],
    precision: Literal["fp32", "bf16", "int8", "int4"],
) -> dict[str, Any]:
    """Return the manifest of a model made from the Hugging Face model in `folder`.

    `forward_flops` are the operations of answering: per token, and per pair of tokens (see `training.flops`).

    Raises `UserError` where `folder` holds no causal language model of Hugging Face or does not give its context.
    """
    config = read_config(folder)
    flops = try_to_count(config)
    return {
        "schema": "greenllm/model/1",
        "engine": engine,
        "precision": precision,
        "parameters": parameters_of(folder),
        "context": context_of(config, folder),
        "task": None,
        "forward_flops": asdict(flops.forward) if flops else None,
    }


def parameters_of(folder: Path) -> int:
    """Return the number of a model's parameters; raise `UserError` as `manifest` does."""
    return sum(weight.numel() for weight in without_weights(folder).parameters())


def read_config(folder: Path) -> Any:
    """Return the configuration of a Hugging Face model folder; `UserError` where there is none."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json in it; expected a Hugging Face model folder")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'}: {' '.join(str(error).split())[:300]}") from None


def without_weights(folder: Path) -> Any:
    """Return the network of a model folder on the meta device; `UserError` where it is no causal language model."""
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
