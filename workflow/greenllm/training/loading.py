"""A model folder's weights, as PyTorch computes with them."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from greenllm.errors import UserError
from greenllm.model_folder.written import read_config


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return the transformers model in a folder, its weights as `dtype`; raise `UserError` where there is none."""
    read_config(folder)
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
