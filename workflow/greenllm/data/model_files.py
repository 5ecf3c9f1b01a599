"""The files of a model in Hugging Face's layout: which of them are taken, and whether they are all there and whole."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from pydantic import BaseModel

from greenllm.config.read import validate
from greenllm.data.gguf_model import is_gguf
from greenllm.errors import UserError, reason
from greenllm.files import read_json

REMEDY = "fetch the model again"
SOURCE = "source.json"
# Weights, settings and tokenizer. Python files stay out: code that comes with a model is never run.
WEIGHTS = "*.safetensors"
PATTERNS = (WEIGHTS, "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
# Weights once more in another layout.
LEFT_OUT = ("*/*", "consolidated*.safetensors")
INDEX = "model.safetensors.index.json"


class _Index(BaseModel):
    """Which file holds a weight, by the weight's name."""

    weight_map: dict[str, str]


def wanted(name: str) -> bool:
    """Return whether a file of a model is taken."""
    if name == SOURCE:  # ours, if we made the folder
        return False
    return any(fnmatch(name, pattern) for pattern in PATTERNS) and not any(fnmatch(name, other) for other in LEFT_OUT)


def names_in(folder: Path) -> list[str]:
    """Return the names of a model folder's files that are taken."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and wanted(path.name))


def require_model(init: str, names: Sequence[str]) -> None:
    """Raise UserError if the files of these names are not a configuration and weights as safetensors."""
    if "config.json" not in names:
        raise UserError(f"{init}: no config.json; expected a folder as transformers' save_pretrained writes it")
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(
            f"{init}: no *.safetensors; pickled weights (*.bin, *.pt) are never loaded, since they can run code: "
            "save the model again with save_pretrained"
        )


def require_whole(init: str, folder: Path) -> None:
    """Raise UserError if a folder is no model, or if a file of weights is missing, was cut off or can't be read."""
    names = names_in(folder)
    if "config.json" not in names and (gguf := sorted(path for path in folder.iterdir() if is_gguf(path))):
        raise UserError(f"{init}: no config.json; to use a GGUF file in it, name that: {gguf[0]}")
    require_model(init, names)
    if INDEX in names:
        index: _Index = validate(read_json(folder / INDEX, REMEDY), _Index, str(folder / INDEX))
        if missing := sorted(set(index.weight_map.values()) - set(names)):
            raise UserError(f"{init}: {INDEX} names {missing[0]}, which is not there; {REMEDY}")
    for name in names:
        if fnmatch(name, WEIGHTS):
            _require_whole_weights(folder / name)


def _require_whole_weights(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):  # reads the header, and compares the sizes in it with the file's
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: is no whole safetensors file ({reason(error)}); {REMEDY}") from None
