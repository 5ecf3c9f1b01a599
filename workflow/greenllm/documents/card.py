"""collected/card.json: where a data set comes from, as `greenllm collect` writes it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from greenllm.documents.document import Document, WrittenPart


@dataclass(frozen=True)
class BadRow:
    """A row that can't be used; `row` counts from 1, without a CSV file's header."""

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: row {self.row}: {self.reason}"


class CardFile(WrittenPart):
    """A part of a data set (train or test): the source's name for it, and the number of its usable rows.

    `sha256` and `bytes` are those of the source's file where there is one.
    """

    part: str
    file: str
    rows: int
    bytes: int | None = None
    sha256: str | None = None


class DataCard(Document):
    """The origin of a data set, its licence, and what was read of it.

    `task_files`: the SHA-256 of each of the user's own files for the harness, by its path in their folder.
    """

    stage: ClassVar[str] = "collect"
    schema_name: ClassVar[str] = "greenllm/card/1"

    task: str | None = None
    source: str
    origin: str
    licence: str | None
    revision: str | None = None
    near_duplicates: bool = True
    settings: dict[str, Any] | None = None
    task_files: dict[str, str] = Field(default_factory=dict)
    columns: list[str] = Field(default_factory=list)
    files: list[CardFile]
    rows: int
    bytes: int
    bad_row_count: int
    bad_rows: list[BadRow] = Field(default_factory=list)
