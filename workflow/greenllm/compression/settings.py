"""Kinds of settings that recipe steps share: a section with a short form, and the share that pruning removes."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from greenllm.config.section import Strict


def _or_short_form(schema: dict[str, Any], section: type["WithShortForm"]) -> None:
    """Allow the short form in the schema for editors too."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [full, full["properties"][section.short_form]]


class WithShortForm(Strict):
    """A section that may be given as one key's value: `quantize: int8` means `quantize: {format: int8}`."""

    model_config = ConfigDict(json_schema_extra=_or_short_form)

    short_form: ClassVar[str]
    """The key whose value alone may replace the section."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, given: Any) -> Any:
        return {cls.short_form: given} if isinstance(given, str) else given


class ByFormat(WithShortForm):
    """A section that may be given as its `format` alone."""

    short_form: ClassVar[str] = "format"


def _some_but_not_all(share: float) -> float:
    if not 0 < share < 1:
        what = "nothing" if share == 0 else "everything" if share == 1 else "no part of a whole"
        raise PydanticCustomError("share", f"would remove {what}; expected a share above 0 and below 1, such as 0.5")
    return share


# The bounds in the schema are for editors.
Removed = Annotated[
    float,
    AfterValidator(_some_but_not_all),
    Field(json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
]
