"""Kinds of settings that recipe steps share: a section with a short form, and the share that pruning removes."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from greenllm.config.section import Strict


def _or_format_alone(schema: dict[str, Any]) -> None:
    """Allow the short form in the schema for editors too."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [full, full["properties"]["format"]]


class ByFormat(Strict):
    """A section that may be given as its `format` alone: `quantize: int8` means `quantize: {format: int8}`."""

    model_config = ConfigDict(json_schema_extra=_or_format_alone)

    @model_validator(mode="before")
    @classmethod
    def _from_format(cls, given: Any) -> Any:
        return {"format": given} if isinstance(given, str) else given


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
