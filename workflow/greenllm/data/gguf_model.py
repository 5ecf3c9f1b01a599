"""A model in one GGUF file, as llama.cpp runs it: checked, then written as safetensors with dequantised weights."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenllm.documents.model_source import Quantization
from greenllm.errors import UserError, reason
from greenllm.model_folder.inspection import read_config
from greenllm.model_folder.weights import make_readable

if TYPE_CHECKING:
    from gguf import GGUFReader

SUFFIX = ".gguf"


@dataclass(frozen=True)
class GgufModel:
    """A whole GGUF file; `quantization` says how its tensors are stored, `licence` is the one that it names."""

    path: Path
    architecture: str
    licence: str | None
    quantization: Quantization


def read_gguf(path: Path) -> GgufModel:
    """Return what is known of a GGUF file without reading its weights; all its tensors are there.

    Raises UserError if it is no GGUF file, was cut off, or is one part of several.
    """
    from gguf import GGUFReader, LlamaFileType

    try:
        reader = GGUFReader(path)
        architecture = _value(reader, "general.architecture")
    # Reading a file that was cut off ends in any of these.
    except (OSError, ValueError, LookupError, OverflowError, MemoryError):
        raise UserError(f"{path}: is no whole GGUF file; fetch it again, and compare its size") from None
    if architecture is None or not reader.tensors:
        raise UserError(f"{path}: holds no language model; expected a GGUF file that llama.cpp runs")
    parts = _value(reader, "split.count") or 1
    if parts > 1:
        raise UserError(f"{path}: is one of {parts} parts; make one file of them with `llama-gguf-split --merge`")
    tensors = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    try:
        stored = LlamaFileType(_value(reader, "general.file_type")).name.split("_", 1)[1]  # MOSTLY_Q4_1, ALL_F32
    except ValueError:  # an optional key
        stored = tensors.most_common(1)[0][0]
    return GgufModel(
        path=path,
        architecture=str(architecture),
        licence=_value(reader, "general.license"),
        quantization=Quantization(format=stored, tensors=dict(tensors)),
    )


def write_outline(model: GgufModel, folder: Path) -> None:
    """Write a GGUF model's configuration, tokenizer and chat template into a folder, but no weights.

    Raises UserError if transformers can't read the architecture or the tokenizer from GGUF.
    """
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    place: dict[str, Any] = {"gguf_file": model.path.name, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(model.path.parent, **place)
        tokenizer = AutoTokenizer.from_pretrained(model.path.parent, config=config, **place)
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"{model.path}: transformers can't read a GGUF model of the architecture {model.architecture!r} "
            f"({reason(error)}); use the model that the file was made from (a folder or hub id)"
        ) from None
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, config.model_type)]
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


def _value(reader: "GGUFReader", key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()
