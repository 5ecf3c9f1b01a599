"""What a study asks of a model, checked on the model's small files, before its weights are fetched or computed with."""

from dataclasses import dataclass
from pathlib import Path

from greenllm.engines.architectures import runs
from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.model_folder.manifest import EngineName

REMEDY = "fetch the model again"
# Other quantised weights need a library and a GPU of their own: auto-gptq, autoawq, bitsandbytes, …
READABLE = {"torchao", "mxfp4"}


@dataclass(frozen=True)
class ModelUse:
    """Whether prompts go through a model's chat template, and the engines that its recipes need."""

    chat: bool = False
    engines: tuple[EngineName, ...] = ()


def require_usable(init: str, folder: Path, use: ModelUse) -> None:
    """Raise UserError if the model `init` can't be used in this way; `folder` has its config.json and tokenizer."""
    config = read_json(folder / "config.json", REMEDY)
    quantised = (config.get("quantization_config") or {}).get("quant_method")
    if quantised and quantised not in READABLE:
        raise UserError(
            f"{init}: its weights are quantised already ({quantised}); expected weights in fp32, fp16 or bf16, or a "
            "GGUF file, which is dequantised"
        )
    architecture = next(iter(config.get("architectures") or ()), None)
    for engine in use.engines:
        if architecture is not None and not runs(engine, architecture):
            raise UserError(
                f"{init}: {engine} does not know the architecture {architecture}; leave out the recipes that need it "
                "(export, and quantize without library: torchao)"
            )
    if use.chat and not has_chat_template(folder):
        raise UserError(
            f"{init}: has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), which "
            "model.chat asks for; name an instruct model, or set chat: false"
        )


def has_chat_template(folder: Path) -> bool:
    """Return whether a model folder has a chat template."""
    settings = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or bool(
        settings.is_file() and read_json(settings, REMEDY).get("chat_template")
    )
