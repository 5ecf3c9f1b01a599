"""A model folder's weights, as PyTorch computes with them: loaded, and saved as safetensors."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from greenllm.errors import UserError
from greenllm.model_folder.inspection import read_config

if TYPE_CHECKING:
    import torch


def load_weights(folder: Path, dtype: "torch.dtype | Literal['auto'] | None" = None) -> Any:
    """Return the transformers model in a folder, its weights as `dtype` (None: fp32, "auto": as they are stored).

    Raises `UserError` if the folder has no model that can be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    read_config(folder)
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype or torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def save_weights(model: Any, folder: Path) -> None:
    """Write a transformers model's weights and configuration into `folder`."""
    model.save_pretrained(folder)
    make_readable(folder)


def make_readable(folder: Path) -> None:
    """Let everybody read the safetensors files in a folder and below it: safetensors lets only their owner."""
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)
