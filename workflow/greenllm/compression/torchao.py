"""Quantisation of weights by torchao, for PyTorch on GPUs (in eager mode on a CPU it saves memory but no time)."""

from pathlib import Path
from typing import Literal

from greenllm.errors import UserError
from greenllm.model_folder.weights import save_weights


def quantize(model: Path, out: Path, *, precision: Literal["int8", "int4"], block: int, on_gpu: bool) -> None:
    """Quantise the linear layers of a Hugging Face model folder, but not its embeddings, and write such a folder.

    Only weights: activations stay bf16 on a GPU, fp32 on the CPU. int8 has one scale per row, int4 one per `block` of
    weights, packed for PyTorch's int4 kernel, which only runs on GPUs.

    Raises `UserError` if torchao is missing, or for int4 without a GPU.
    """
    import torch
    from transformers import AutoModelForCausalLM, TorchAoConfig
    from transformers.utils import is_torchao_available

    if not is_torchao_available():
        raise UserError(
            "quantize.library: torchao is not installed; pip install --constraint envs/constraints.txt "
            "-e '.[gpu]', or set library: onnxruntime"
        )
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig

    if precision == "int4" and not on_gpu:
        raise UserError(
            "quantize: torchao's int4 needs a GPU, and this job has none; set library: onnxruntime, or format: int8"
        )
    chosen = (
        Int8WeightOnlyConfig(version=2)
        if precision == "int8"
        else Int4WeightOnlyConfig(group_size=block, int4_packing_format="tile_packed_to_4d")
    )
    quantized = AutoModelForCausalLM.from_pretrained(
        model,
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        device_map="cuda" if on_gpu else "cpu",
        local_files_only=True,
        use_safetensors=True,
        quantization_config=TorchAoConfig(chosen),
    )
    save_weights(quantized, out)
