"""Settings of which the format is the main one: `quantize: int8` is short for `quantize: {format: int8}`."""

from typing import Any

from pydantic import ConfigDict, model_validator

from greenllm.config.section import Strict


def _or_format_alone(schema: dict[str, Any]) -> None:
    """Let an editor's schema allow the short form, too."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [full, full["properties"]["format"]]


class ByFormat(Strict):
    """A section that may be given as its `format` alone."""

    model_config = ConfigDict(json_schema_extra=_or_format_alone)

    @model_validator(mode="before")
    @classmethod
    def _from_format(cls, given: Any) -> Any:
        return {"format": given} if isinstance(given, str) else given
