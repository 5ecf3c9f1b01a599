"""The base classes and types of the sections of the configuration."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    create_model,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from greenllm.errors import UserError
from greenllm.paths import expanded

# Names become folders and Snakemake wildcards, so they hold no slash and no blank.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]*"
Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _home_expanded(text: str) -> str:
    try:
        return str(expanded(Path(text))) if text.startswith("~") else text
    except UserError as error:
        raise PydanticCustomError("home", "{message}", {"message": str(error)}) from None


# A path that the user writes: `~` is the home folder, in every key.
UserPath = Annotated[str, AfterValidator(_home_expanded)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A section of the configuration: unknown keys are refused, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


Section = TypeVar("Section", bound=Strict)


class Override(Strict, Generic[Section]):
    """Some keys of a section: `Override[Training]` has the keys of `Training`, each of which may be left out or null.

    Only `overridden` reads its values. Its JSON has only the keys that were set, so that it is read back unchanged.
    """

    if TYPE_CHECKING:  # its keys are made at run time; pydantic checks them

        def __init__(self, **keys: Any) -> None: ...

    def __class_getitem__(cls, section: Any) -> Any:
        """Return the class of a section's overrides."""
        return _override_of(section) if isinstance(section, type) else super().__class_getitem__(section)

    @model_serializer(mode="wrap")
    def _keys_that_are_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


@cache
def _override_of(section: type[Strict]) -> type[Strict]:
    fields: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        fields[key] = (annotation | None, Field(None, alias=field.alias, description=field.description))
    documented = f"{(section.__doc__ or '').splitlines()[0].removesuffix('.')}; a key that is left out is not changed."
    return create_model(f"{section.__name__}Override", __base__=Override, __doc__=documented, **fields)


def overridden(section: Section, *overrides: Override[Section]) -> Section:
    """Return `section` with the keys that the overrides set; the last override that sets a key decides.

    A null does not change a key, unless the section allows null there.
    """
    values = {key: getattr(section, key) for key in type(section).model_fields}
    for override in overrides:
        for key in override.model_fields_set:
            given = getattr(override, key)
            if given is not None or _may_be_null(section, key):
                values[key] = given
    return type(section)(**values)


def _may_be_null(section: Strict, key: str) -> bool:
    annotation = type(section).model_fields[key].annotation
    return type(None) in getattr(annotation, "__args__", ())
