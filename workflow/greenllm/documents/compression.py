"""compression.json in a model's folder: what a compression changed, as `greenllm compress` writes it."""

from typing import ClassVar, Literal

from greenllm.documents.document import Document, Number, WrittenPart


class Change(WrittenPart):
    """A number of the parent's and the same of the compressed model."""

    before: int
    after: int | None


class RemovedParts(WrittenPart):
    """What pruning removed of a layer: all of it, heads by index, a number of feed-forward neurons."""

    layer: int
    whole: bool
    heads: list[int]
    feed_forward_neurons: int


class CompressionReport(Document):
    """A compression, and the settings of its recipe; each recipe writes its own."""

    stage: ClassVar[str] = "compress"
    schema_name: ClassVar[str] = "greenllm/compression/1"

    recipe: str
    parameters: Change
    bytes: Change
    # pruned
    shares: dict[str, Number] | None = None
    importance: dict[str, str] | None = None
    calibration_rows: int | None = None
    removed: list[RemovedParts] | None = None
    # sparse
    share: Number | None = None
    nonzero_parameters: Change | None = None
    # int8, int4
    library: Literal["onnxruntime", "torchao"] | None = None
    method: str | None = None
    block: int | None = None
    # exported
    engine: Literal["onnxruntime"] | None = None
    precision: str | None = None
