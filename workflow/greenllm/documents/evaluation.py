"""evaluations/…/seed-N.json: a model's quality on the test split, as `greenllm evaluate` writes it."""

from typing import ClassVar

from pydantic import Field

from greenllm.documents.document import Document, DocumentPart, Number
from greenllm.estimate import Interval


class SubsetQuality(DocumentPart):
    """The quality on one kind of example."""

    examples: int
    metrics: dict[str, Interval]


class HandedOver(DocumentPart):
    """What is answered, and how well, where answers of a confidence below `threshold` go to a person."""

    threshold: Number
    coverage: Interval
    examples: Number
    metrics: dict[str, Interval]


class AnswerExtraction(DocumentPart):
    """The steps that found the answers in the generated texts; `missing`: how many texts had none."""

    after: str | None = None
    first_line: bool = False
    pattern: str | None = None
    missing: int


class SampledAnswers(DocumentPart):
    """How answers were sampled, and how many to each row; see `evaluate.sampling`."""

    temperature: Number
    top_p: Number
    draws: int
    seed: int


class ModelQuality(DocumentPart):
    """A model's quality on the test split; `finish`: how many answers came to an end, and how many were cut off."""

    primary: str
    metrics: dict[str, Interval]
    examples: int
    bootstrap: int
    finish: dict[str, int] | None = None
    subsets: dict[str, SubsetQuality] = Field(default_factory=dict)
    hand_over: HandedOver | None = None


class EvaluationReport(ModelQuality, Document):
    """An evaluation, as it is in its file; `seed` is that of the bootstrap.

    `chance`: the primary metric of a model that ignores its input, as the control; None in files of earlier versions.
    `harness`: task → metric → value as lm-evaluation-harness computes it over the evaluated examples.
    """

    stage: ClassVar[str] = "evaluate"
    schema_name: ClassVar[str] = "greenllm/evaluation/1"

    task: str
    engine: str
    precision: str | None
    seed: int
    chance: Number | None = None
    harness: dict[str, dict[str, Number]] = Field(default_factory=dict)
    tokens: int
    prompt_tokens: int
    extraction: AnswerExtraction | None = None
    sampling: SampledAnswers | None = None
