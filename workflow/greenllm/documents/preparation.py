"""prepared/report.json: what the preparation did to a data set, as `greenllm preprocess` writes it."""

from typing import ClassVar

from pydantic import Field

from greenllm.documents.card import BadRow
from greenllm.documents.document import Document, Number, WrittenPart


class RowCounts(WrittenPart):
    """Numbers of rows: collected, and what was found among them."""

    collected: int
    bad: int | None = None
    duplicates_dropped: int | None = None
    contradictory: dict[str, int] | None = None


class Leaks(WrittenPart):
    """Rows that were dropped from one split since another has the same or nearly the same."""

    near_duplicate_threshold: Number | None
    train_rows_dropped_for_test: dict[str, int]
    validation_rows_dropped_for_train: dict[str, int]


class PreparedTokenizer(WrittenPart):
    """The tokenizer: trained on the data, or the model's."""

    origin: str
    kind: str | None
    vocabulary: int


class TokenCounts(WrittenPart):
    """The tokens of a split, and percentiles of the lengths of its prompts, completions and whole rows."""

    sum: int
    prompt: dict[str, int]
    completion: dict[str, int]
    row: dict[str, int]


class SplitCounts(WrittenPart):
    """The size of a split: rows, groups, different completions, tokens."""

    rows: int
    groups: int
    completions: int | None = None
    tokens: TokenCounts | None


class LongRows(WrittenPart):
    """Rows that are longer than the model's context (of the test split: that leave no room for an answer), by split.

    `decision`: training cuts them (`cut`), or they were dropped (`drop`).
    """

    context: int
    decision: str
    count: dict[str, int]
    rows: dict[str, list[str]]


class PreparationReport(Document):
    """The report of a preparation."""

    stage: ClassVar[str] = "preprocess"
    schema_name: ClassVar[str] = "greenllm/preprocessing/1"
    schema_required: ClassVar[bool] = False

    task: str | None = None
    rows: RowCounts
    bad_rows: list[BadRow] = Field(default_factory=list)
    cleaned: dict[str, int] = Field(default_factory=dict)
    leaks: Leaks | None = None
    long_rows: LongRows | None = None
    tokenizer: PreparedTokenizer | None = None
    splits: dict[str, SplitCounts] = Field(default_factory=dict)
