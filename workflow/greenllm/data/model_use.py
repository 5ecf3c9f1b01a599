"""What a study asks of a model, checked on the model's small files, before its weights are fetched or computed with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from greenllm.config.read import validate
from greenllm.data.gguf_model import read_gguf
from greenllm.data.model_files import REMEDY
from greenllm.engines.architectures import causal_architecture, gguf_architecture, runs
from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.model_folder.manifest import EngineName

# Other quantised weights need a library and a GPU of their own: auto-gptq, autoawq, bitsandbytes, …
READABLE = {"torchao", "mxfp4"}


@dataclass(frozen=True)
class ModelUse:
    """Whether prompts go through a model's chat template, and the engines that its recipes need."""

    chat: bool = False
    engines: tuple[EngineName, ...] = ()


class _Quantization(BaseModel):
    quant_method: str | None = None


class _Config(BaseModel):
    """What is asked of a model's config.json."""

    model_type: str
    architectures: list[str] | None = None
    quantization_config: _Quantization | None = None


def require_usable(init: str, path: Path, use: ModelUse) -> None:
    """Raise UserError if the model `init` can't be used in this way.

    `path` is a GGUF file, or a folder that has at least the model's config.json and tokenizer.
    """
    if path.is_dir():
        _require_usable_folder(init, path, use)
    else:
        _require_usable_gguf(init, path, use)


def _require_usable_folder(init: str, folder: Path, use: ModelUse) -> None:
    place = folder / "config.json"
    config: _Config = validate(read_json(place, REMEDY), _Config, str(place))
    quantised = config.quantization_config and config.quantization_config.quant_method
    if quantised and quantised not in READABLE:
        raise UserError(
            f"{init}: its weights are quantised already ({quantised}); expected weights in fp32, fp16 or bf16, or a "
            "GGUF file, which is dequantised"
        )
    known = causal_architecture(config.model_type)
    if known is None:
        raise UserError(
            f"{place}: {config.model_type} is no causal language model that transformers knows; "
            "expected one such as Llama, Qwen or Gemma"
        )
    _require_engines(init, config.architectures[0] if config.architectures else known, use.engines)
    if use.chat and not has_chat_template(folder):
        raise UserError(
            f"{init}: has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), which "
            "model.chat asks for; name an instruct model, or set chat: false"
        )


def _require_usable_gguf(init: str, file: Path, use: ModelUse) -> None:
    model = read_gguf(file)
    architecture = gguf_architecture(model.architecture)
    if architecture is None:
        raise UserError(
            f"{file}: transformers can't read a GGUF model of the architecture {model.architecture!r}; "
            "use the model that the file was made from (a folder or hub id)"
        )
    _require_engines(init, architecture, use.engines)
    if use.chat and not model.has_chat_template:
        raise UserError(
            f"{init}: has no chat template (tokenizer.chat_template), which model.chat asks for; "
            "name an instruct model, or set chat: false"
        )


def _require_engines(init: str, architecture: str, engines: Sequence[EngineName]) -> None:
    for engine in engines:
        if not runs(engine, architecture):
            raise UserError(
                f"{init}: {engine} does not know the architecture {architecture}; leave out the recipes that need it "
                "(export, and quantize without library: torchao)"
            )


def has_chat_template(folder: Path) -> bool:
    """Return whether a model folder has a chat template."""
    settings = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or bool(
        settings.is_file() and read_json(settings, REMEDY).get("chat_template")
    )
