"""A JSON file that a stage writes, read and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from greenllm.errors import UserError
from greenllm.files import read_json, write_json

Number = int | float  # as it is written: a count stays a count


class DocumentPart(BaseModel):
    """An object in a document. Keys that it does not know, of another version, are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


def first_fault(error: ValidationError) -> str:
    """Return the first fault that pydantic found, as "key: what is wrong"."""
    first = error.errors(include_url=False)[0]
    key, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}"


class Document(DocumentPart):
    """A whole file; `stage` is the command that writes it, `schema_name` the schema that it must have, if any."""

    stage: ClassVar[str]
    schema_name: ClassVar[str | None] = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file. Raises UserError where there is none, or it is none of this schema."""
        remedy = f"remove the file and run {cls.stage} again"
        found = read_json(path, remedy)
        if cls.schema_name is not None and found.get("schema") != cls.schema_name:
            raise UserError(f"{path}: schema {found.get('schema')!r}, expected {cls.schema_name!r}; {remedy}")
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise UserError(f"{path}: {first_fault(error)}; {remedy}") from None

    @classmethod
    def write(cls, path: Path, content: Mapping[str, Any]) -> Self:
        """Write a file, `content` after the schema's name, and return it as it will be read.

        Raises pydantic's ValidationError if a key is missing or has another type: the writer is wrong then.
        """
        written = cls.model_validate(content)
        write_json(path, {"schema": cls.schema_name, **content})
        return written
