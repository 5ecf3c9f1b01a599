"""A model in one GGUF file, as llama.cpp runs it: checked, then written as safetensors with dequantised weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.data.gguf_header import GgufHeader, read_header
from greenllm.documents.model_source import Quantization
from greenllm.engines.architectures import causal_architecture
from greenllm.errors import UserError, reason
from greenllm.model_folder.inspection import read_config
from greenllm.model_folder.weights import make_readable

SUFFIX = ".gguf"


@dataclass(frozen=True)
class GgufModel:
    """A whole GGUF file; `quantization` says how its tensors are stored, `licence` is the one that it names."""

    path: Path
    architecture: str
    licence: str | None
    quantization: Quantization
    has_chat_template: bool


def is_gguf(path: Path | str) -> bool:
    """Return whether a file's name is that of a GGUF file."""
    return Path(path).suffix.lower() == SUFFIX


def read_gguf(path: Path) -> GgufModel:
    """Return what is known of a GGUF file without reading its weights; all its tensors are there.

    Raises UserError if it is no GGUF file, was cut off, or is one part of several.
    """
    try:
        header = read_header(path)
    except (OSError, ValueError, LookupError, OverflowError) as error:
        raise UserError(
            f"{path}: is no whole GGUF file ({reason(error)}); fetch it again, and compare its size"
        ) from None
    architecture = header.text("general.architecture")
    if architecture is None or not header.tensors:
        raise UserError(f"{path}: holds no language model; expected a GGUF file that llama.cpp runs")
    parts = header.number("split.count") or 1
    if parts > 1:
        raise UserError(f"{path}: is one of {parts} parts; make one file of them with `llama-gguf-split --merge`")
    return GgufModel(
        path=path,
        architecture=architecture,
        licence=header.text("general.license"),
        quantization=Quantization(format=_format(header), tensors=dict(header.tensors)),
        has_chat_template=bool(header.text("tokenizer.chat_template")),
    )


def _format(header: GgufHeader) -> str:
    """Return how most weights are stored, such as Q4_1."""
    from gguf import LlamaFileType

    try:
        named = LlamaFileType(header.number("general.file_type")).name  # MOSTLY_Q4_1, ALL_F32, GUESSED
    except ValueError:  # an optional key
        named = ""
    # Norms and biases, which are many and small, stay floats.
    quantised = [name for name in header.tensors if name not in ("F32", "F16", "BF16")]
    return named.partition("_")[2] or max(quantised or header.tensors, key=header.tensors.__getitem__)


def write_outline(model: GgufModel, folder: Path) -> None:
    """Write a GGUF model's configuration, tokenizer and chat template into a folder, but no weights.

    Raises UserError if transformers can't read the architecture or the tokenizer from GGUF.
    """
    from transformers import AutoConfig, AutoTokenizer

    place: dict[str, Any] = {"gguf_file": model.path.name, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(model.path.parent, **place)
        tokenizer = AutoTokenizer.from_pretrained(model.path.parent, config=config, **place)
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"{model.path}: transformers can't read a GGUF model of the architecture {model.architecture!r} "
            f"({reason(error)}); use the model that the file was made from (a folder or hub id)"
        ) from None
    config.architectures = [causal_architecture(config.model_type) or config.model_type]
    if hasattr(config, "quantization_config"):  # transformers would look for the GGUF file
        del config.quantization_config
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_weights(model: GgufModel, folder: Path) -> None:
    """Write a GGUF model's weights, dequantised, in fp32 (safetensors), into the folder with its outline.

    Raises UserError if the file's tensors are not those of its architecture.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        # The configuration is at hand: reading the file for it again takes seconds.
        loaded = AutoModelForCausalLM.from_pretrained(
            model.path.parent,
            config=read_config(folder),
            gguf_file=model.path.name,
            dtype=torch.float32,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError, LookupError, NotImplementedError) as error:
        raise UserError(f"{model.path}: cannot be loaded: {reason(error)}") from None
    # transformers refuses to save a model that was loaded from GGUF, so its weights move to a fresh one, uncopied.
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(read_config(folder), dtype=torch.float32)
    fresh.load_state_dict(loaded.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.save_pretrained(folder)
    make_readable(folder)
