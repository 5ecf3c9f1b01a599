"""source.json in a model's folder: where a model comes from, as `greenllm collect-model` writes it."""

from typing import ClassVar

from greenllm.documents.document import Document, WrittenPart


class SourceFile(WrittenPart):
    """A file that was copied or downloaded."""

    bytes: int
    sha256: str


class Quantization(WrittenPart):
    """How weights were stored before they were dequantised: the format, and the number of tensors of each type."""

    format: str
    tensors: dict[str, int]


class ModelSource(Document):
    """The origin of a model: folder, GGUF file, package or hub id; its licence; its files by name.

    `revision` is the commit at the hub, or the package's version. `quantization` is what the weights went through
    before they came here, where that is known: a GGUF file names it.
    """

    stage: ClassVar[str] = "collect-model"
    schema_name: ClassVar[str] = "greenllm/model-card/1"

    id: str
    revision: str | None
    licence: str | None
    quantization: Quantization | None = None
    files: dict[str, SourceFile]
