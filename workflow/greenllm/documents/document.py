"""A JSON file that a stage writes: one typed object, read and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from greenllm.errors import UserError
from greenllm.files import read_json, write_json

Model = TypeVar("Model", bound=BaseModel)
Number = int | float  # as it is written: a count stays a count


class DocumentPart(BaseModel):
    """An object in a document. Unknown keys, of another version, are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class WrittenPart(DocumentPart):
    """An object that is written with the keys that it was made with, in their order, and no others.

    So what is read and written again stays the same, unknown keys included.
    """

    model_config = ConfigDict(extra="allow")

    _keys: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _note_keys(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(given)
        if isinstance(given, Mapping):
            made._keys = tuple(given)
        return made

    def extended(self, **more: Any) -> Self:
        """Return it with further keys at its end."""
        return type(self)(**self.model_dump(), **more)

    @model_serializer(mode="wrap")
    def _in_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written = handler(self)
        return {key: written[key] for key in self._keys}


def validated(model: type[Model], found: Mapping[str, Any], path: Path, remedy: str) -> Model:
    """Return the content of a file as `model`. Raises UserError with the first wrong key, and `remedy`."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {key}: {message[0].lower()}{message[1:]}; {remedy}") from None


class Document(WrittenPart):
    """A whole file; `stage` is the command that writes it, `schema_name` the schema that it must have."""

    stage: ClassVar[str]
    schema_name: ClassVar[str]
    schema_required: ClassVar[bool] = True  # False: a file without a schema is read, too

    @classmethod
    def read(cls, path: Path, remedy: str | None = None) -> Self:
        """Read a file. Raises UserError, with `remedy`, if it does not exist or does not have this schema."""
        remedy = remedy or f"remove the file and run {cls.stage} again"
        found = read_json(path, remedy)
        if found.get("schema", None if cls.schema_required else cls.schema_name) != cls.schema_name:
            raise UserError(f"{path}: schema {found.get('schema')!r}, expected {cls.schema_name!r}; {remedy}")
        return validated(cls, found, path, remedy)

    def write(self, path: Path) -> None:
        """Write the file, the schema's name first."""
        write_json(path, {"schema": self.schema_name, **self.model_dump()})
