"""Models to compress: loaded, and described with what was done to them."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from greenllm.data.tokenizer import TOKENIZER_FILES
from greenllm.documents.compression import Change, CompressionReport
from greenllm.errors import UserError
from greenllm.model_folder.inspection import manifest_of, parameters_of, without_weights
from greenllm.model_folder.manifest import EngineName, Precision, read_manifest
from greenllm.model_folder.weights import load_weights

if TYPE_CHECKING:
    import torch


def require_floating_point(folder: Path) -> None:
    """Raise `UserError` if the model in `folder` is quantised or for another engine: no step can start from it."""
    known = read_manifest(folder)
    quantised = known.precision in ("int8", "int4")
    if known.engine != "transformers" or quantised:
        raise UserError(
            f"{folder}: is {'quantised' if quantised else 'exported'} already ({known.precision}, {known.engine}); "
            "start from its parent's model"
        )


def require_whole_blocks(folder: Path, block: int) -> None:
    """Raise `UserError` if a linear layer's input is not a multiple of `block`, the weights that share a scale."""
    from torch import nn

    for name, module in without_weights(folder).named_modules():
        if isinstance(module, nn.Linear) and module.in_features % block:
            raise UserError(
                f"{folder}: the layer {name} is {module.in_features} wide, which is not a multiple of the {block} "
                "weights that share a scale; set quantize.block to a number that divides it, or leave this recipe out"
            )


def load(folder: Path, dtype: "torch.dtype | Literal['auto'] | None" = None) -> Any:
    """Load the model in a folder with weights as `dtype` (None: fp32, "auto": as they are stored).

    Raises `UserError` if they are quantised.
    """
    require_floating_point(folder)
    return load_weights(folder, dtype).eval()


def describe(
    folder: Path, parent: Path, *, engine: EngineName, precision: Precision, device: Literal["cpu"] | None = None
) -> None:
    """Write what a model made from `parent` needs beside its weights in `folder`: tokenizer and greenllm.json."""
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)  # a builder may have written its own version
        if (parent / name).is_file():
            shutil.copy(parent / name, folder / name)
    # ONNX Runtime's folder has no config.json, and neither exporting nor quantising changes a shape.
    shaped = parent if engine == "onnxruntime-genai" or precision in ("int8", "int4") else folder
    manifest_of(shaped, engine=engine, precision=precision).model_copy(update={"device": device}).write(folder)


def report(folder: Path, parent: Path, *, recipe: str, **details: Any) -> None:
    """Write compression.json: parameters and bytes before and after, and `details`, the recipe's own keys."""
    written = CompressionReport(
        recipe=recipe,
        parameters=Change(before=parameters_of(parent), after=read_manifest(folder).parameters),
        bytes=Change(before=_bytes(parent), after=_bytes(folder)),
        **details,
    )
    written.write(folder / "compression.json")


def _bytes(folder: Path) -> int:
    """Return the size of a model's weights on disk (with ONNX: of the graphs, too)."""
    return sum(file.stat().st_size for end in ("*.safetensors", "*.onnx*") for file in folder.glob(end))
