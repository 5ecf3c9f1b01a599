"""greenllm.json: what a model folder holds, and how it is run."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.model_folder.endpoint import Endpoint
from greenllm.model_folder.flops import Flops

FILE = "greenllm.json"
Schema = Literal["greenllm/model/1"]
Precision = Literal["fp32", "bf16", "int8", "int4"]
EngineName = Literal[
    "transformers", "onnxruntime-genai", "classifier-pytorch", "classifier-tensorflow", "openai-endpoint"
]


class Manifest(BaseModel):
    """The content of a greenllm.json."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    schema_: Schema = Field(get_args(Schema)[0], alias="schema")
    engine: EngineName = "transformers"
    precision: Precision | None = "fp32"
    """Precision of the weights; None if unknown."""
    device: Literal["cpu"] | None = None
    """The device that computes; None: the one that whoever loads the model chooses."""
    parameters: int | None = None
    context: int | None = Field(None, ge=1)
    task: str | None = None
    forward_flops: Flops | None = None
    """Operations of answering; None if they could not be counted."""
    name: str | None = None
    """The model's name in the HTTP interface; None: the folder's name."""
    endpoint: Endpoint | None = None
    """The server on which the model runs already; for the engine openai-endpoint."""

    def write(self, folder: Path) -> None:
        """Write greenllm.json into a folder; `device`, `name` and `endpoint` are left out if they are None."""
        absent = {key for key in ("device", "name", "endpoint") if getattr(self, key) is None}
        write_json(folder / FILE, self.model_dump(by_alias=True, exclude=absent))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a model folder; a plain Hugging Face folder is transformers in fp32.

    Raises `UserError` if `folder` is not a model folder or its `greenllm.json` is not valid.
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
