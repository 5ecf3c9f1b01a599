"""training.json in a model's folder: what a training did, as `greenllm train` and `greenllm compress` write it."""

from typing import Any, ClassVar

from greenllm.documents.document import Document, DocumentPart, Number


class TrainingFacts(DocumentPart):
    """What a training reported; None what this one did not."""

    parameters: int | None = None
    steps: int | None = None
    epochs: Number | None = None
    tokens: Number | None = None
    samples: Number | None = None
    flops: Number | None = None
    precision: str | None = None
    trainable_parameters: int | None = None
    peak_memory_bytes: int | None = None
    world_size: int | None = None
    wrapper: str | None = None
    resumed_from_step: int | None = None
    stopped_early: bool | None = None
    stop_reason: str | None = None


class TrainingReport(TrainingFacts, Document):
    """A training, as it is in its file; losses are in nats per token (of a classifier: per example)."""

    stage: ClassVar[str] = "its stage"  # train or compress
    schema_name: ClassVar[str] = "greenllm/training/1"
    schema_required: ClassVar[bool] = False

    framework: str | None = None
    truncated_rows: int | None = None
    threads: int | None = None
    device: str | None = None
    seed: int | None = None
    backend: str | None = None
    loss: list[dict[str, Number]] | None = None
    validation_loss: list[dict[str, Number]] | None = None
    energy_J: list[dict[str, Any]] | None = None
    best_step: int | None = None
    adapter: dict[str, Any] | None = None
