"""What every section of the configuration is made of."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

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
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _home_expanded(text: str) -> str:
    try:
        return str(expanded(Path(text))) if text.startswith("~") else text
    except UserError as error:
        raise PydanticCustomError("home", "{message}", {"message": str(error)}) from None


# A path of the user's: `~` is the home folder, in every key.
UserPath = Annotated[str, AfterValidator(_home_expanded)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A section of the configuration: unknown keys are refused, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Override(Strict):
    """A section whose keys may all be left out; written, it has those that were set, so that it reads back the same."""

    @model_serializer(mode="wrap")
    def _what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


Section = TypeVar("Section", bound=Strict)


def override_of(section: type[Strict], name: str) -> type[Strict]:
    """Return the section `name`: the keys of `section`, each of which may be left out or null."""
    fields: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        own: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        fields[key] = (own | None, Field(None, alias=field.alias, description=field.description))
    documented = f"{(section.__doc__ or '').splitlines()[0].removesuffix('.')}; what is left out stays as it is."
    return create_model(name, __base__=Override, __doc__=documented, **fields)


def overridden(section: Section, *overrides: Strict) -> Section:
    """Return `section` with what the overrides set on top, the last one winning.

    A null leaves a key as it is, unless the section allows null there.
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
