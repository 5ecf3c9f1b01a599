"""Models that are to be compressed: read, and written down with what was done to them."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from greenllm.data.tokenizer import TOKENIZER_FILES
from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.model_folder.manifest import read_manifest
from greenllm.model_folder.written import manifest, parameters_of, without_weights

if TYPE_CHECKING:
    import torch


def require_floating_point(folder: Path) -> None:
    """Raise `UserError` where the weights of the model in `folder` are quantised: they cannot be changed further."""
    known = read_manifest(folder)
    if known.engine != "transformers" or known.precision in ("int8", "int4"):
        raise UserError(
            f"{folder}: is quantised already ({known.precision}, {known.engine}); start from the model it was made of"
        )


def require_whole_blocks(folder: Path, block: int) -> None:
    """Raise `UserError` where a linear layer's input is not a multiple of `block`, the weights that share a scale."""
    from torch import nn

    for name, module in without_weights(folder).named_modules():
        if isinstance(module, nn.Linear) and module.in_features % block:
            raise UserError(
                f"{folder}: the layer {name} is {module.in_features} wide, which is not a multiple of the {block} "
                "weights that share a scale; set quantize.block to a number that divides it, or leave this recipe out"
            )


def load(folder: Path, dtype: "torch.dtype | None" = None) -> Any:
    """Load the weights of a model folder as `dtype`, fp32 where that is None; `UserError` where they are quantised."""
    import torch

    from greenllm.training import loading

    require_floating_point(folder)
    return loading.load(folder, dtype or torch.float32).eval()


def save(model: Any, folder: Path) -> None:
    """Write a model's weights and configuration into `folder`."""
    model.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors leaves it to its owner alone


def describe(
    folder: Path,
    parent: Path,
    *,
    engine: Literal["transformers", "onnxruntime-genai"],
    precision: Literal["fp32", "bf16", "int8", "int4"],
) -> None:
    """Write what a model made of `parent` needs beside its weights in `folder`: tokenizer and greenllm.json."""
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)  # a builder may have written its own version
        if (parent / name).is_file():
            shutil.copy(parent / name, folder / name)
    # ONNX Runtime's folder has no config.json, and quantising changes no shape.
    shaped = parent if precision in ("int8", "int4") else folder
    write_json(folder / "greenllm.json", manifest(shaped, engine=engine, precision=precision))


def report(folder: Path, parent: Path, *, recipe: str, **details: Any) -> None:
    """Write compression.json: parameters and bytes before and after, and `details`, further keys of it."""
    write_json(
        folder / "compression.json",
        {
            "schema": "greenllm/compression/1",
            "recipe": recipe,
            "parameters": {"before": parameters_of(parent), "after": read_manifest(folder).parameters},
            "bytes": {"before": _bytes(parent), "after": _bytes(folder)},
            **details,
        },
    )


def _bytes(folder: Path) -> int:
    """Return the size of a model's weights on disk (with ONNX: of the graph, too)."""
    return sum(file.stat().st_size for end in ("*.safetensors", "*.onnx*") for file in folder.glob(end))
