"""`greenllm.json`: how a model folder is to be run."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenllm.errors import UserError
from greenllm.model_folder.endpoint import Endpoint
from greenllm.model_folder.flops import Flops

FILE = "greenllm.json"


class Manifest(BaseModel):
    """How a model folder is to be run, and what is known of the model in it."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    schema_: Literal["greenllm/model/1"] = Field("greenllm/model/1", alias="schema")
    engine: Literal[
        "transformers", "onnxruntime-genai", "classifier-pytorch", "classifier-tensorflow", "openai-endpoint"
    ] = "transformers"
    precision: Literal["fp32", "bf16", "int8", "int4"] | None = "fp32"
    """Precision of the weights; None where it is unknown."""
    parameters: int | None = None
    context: int | None = Field(None, ge=1)
    task: str | None = None
    forward_flops: Flops | None = None
    """Operations of answering; None where they could not be counted."""
    name: str | None = None
    """The model's name in the HTTP interface; the folder's where there is none."""
    endpoint: Endpoint | None = None
    """Where the model runs already, with the engine openai-endpoint."""


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a model folder; a plain Hugging Face folder is transformers in fp32.

    Raises `UserError` where `folder` is no model folder or its `greenllm.json` cannot be understood.
    """
    if not folder.is_dir():
        found = "is no folder" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {found}; expected a model folder or a bundle made by `greenllm deploy`")
    file = folder / FILE
    if not file.is_file():
        if (folder / "config.json").is_file():
            return Manifest()
        raise UserError(
            f"{folder}: neither {FILE} nor config.json in it; "
            "expected a model folder or a bundle made by `greenllm deploy`"
        )
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {key + ': ' if key else ''}{first['msg']}") from None
