"""The documented default file and the JSON schema, both generated from the models."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from greenllm.study.default import WRITTEN
from greenllm.study.models import Config

HEADER = """\
# yaml-language-server: $schema=schema.json
#
# The default study, and the documentation of every key. `greenllm config default` generates this file from the typed
# models (workflow/greenllm/config/models.py): change it there. Your own study needs only `experiments` and `recipes`;
# a key that it leaves out has the value shown here.
"""


def schema() -> str:
    """Return the JSON schema of a configuration, with which an editor completes and checks the YAML."""
    return json.dumps(Config.model_json_schema(by_alias=True), indent=2) + "\n"


def default_yaml() -> str:
    """Return the default study as YAML, without its controls, with each key's description as a comment."""
    return HEADER + "\n".join(_section(WRITTEN, indent=0, everything=True)) + "\n"


def _section(model: BaseModel, indent: int, everything: bool) -> Iterator[str]:
    """Yield the lines of one section; below `experiments` and `recipes` only the keys that are set."""
    for name, field in type(model).model_fields.items():
        if everything or name in model.model_fields_set:
            if indent == 0:
                yield ""
            yield from _entry(field.alias or name, getattr(model, name), field, indent, everything)


def _entry(key: str, value: Any, field: FieldInfo, indent: int, everything: bool) -> Iterator[str]:
    blanks = " " * indent
    comment = f"  # {field.description}" if field.description else ""
    if isinstance(value, BaseModel) and not (lines := list(_section(value, indent + 2, everything))):
        yield f"{blanks}{key}: {{}}{comment}"
    elif isinstance(value, BaseModel):
        yield f"{blanks}{key}:  # {_summary(value)}"
        yield from lines
    elif isinstance(value, dict) and value and isinstance(next(iter(value.values())), BaseModel):
        yield f"{blanks}{key}:{comment}"
        for name, member in value.items():
            lines = list(_section(member, indent + 4, everything=False))
            yield f"{blanks}  {name}:" if lines else f"{blanks}  {name}: {{}}"
            yield from lines
    else:
        yield f"{blanks}{key}: {json.dumps(value, ensure_ascii=False)}{comment}"


def _summary(model: BaseModel) -> str:
    return (type(model).__doc__ or "").strip().splitlines()[0]
