"""source.json in a model's folder: where a model comes from, as `greenllm collect-model` writes it."""

from typing import ClassVar

from greenllm.documents.document import Document, WrittenPart


class SourceFile(WrittenPart):
    """A file that was copied or downloaded."""

    bytes: int
    sha256: str


class ModelSource(Document):
    """The origin of a model (folder or hub id), its revision at the hub, its licence, its files by name."""

    stage: ClassVar[str] = "collect-model"
    schema_name: ClassVar[str] = "greenllm/model-card/1"

    id: str
    revision: str | None
    licence: str | None
    files: dict[str, SourceFile]
