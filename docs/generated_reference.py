"""Fills the reference pages from the program: tables of keys from typed classes, commands from their parsers.

A reference page asks for a table by `{{ keys("module.Class") }}`. Any pydantic model or dataclass will do; a class that
this one holds gets a table of its own, once on the page.
"""

import argparse
import importlib
import json
import re
from typing import Any

from jinja2 import Environment, StrictUndefined
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from greenllm.cli import COMMANDS

OVERRIDE = "Override"
"""Ending of a section whose keys are those of another section, all of them optional."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Have each reference page filled when it is read."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-signature", _without_factories)
    return {"parallel_read_safe": True}


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `greenllm` itself builds only the one that is called."""
    whole = argparse.ArgumentParser(prog="greenllm", add_help=False)
    subparsers = whole.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        importlib.import_module(module).configure(subparsers.add_parser(name, help=summary, description=summary))
    return whole


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    if name.startswith("reference/"):
        page = Environment(undefined=StrictUndefined, autoescape=False).from_string(source[0])
        source[0] = page.render(keys=Tables().keys)


def _without_factories(*event: Any) -> tuple[str, str | None] | None:
    """Write a dataclass' default as Python: Sphinx shows `<factory>`, which its own domain cannot read."""
    *_, signature, returned = event
    return (signature.replace("<factory>", "..."), returned) if signature else None


class Tables:
    """The tables of one page, each class once."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def keys(self, name: str, level: int = 2) -> str:
        """Return the sections, in Markdown, of a class and of the classes in it that the page does not show yet."""
        module, _, cls = name.rpartition(".")
        schema = TypeAdapter(getattr(importlib.import_module(module), cls)).json_schema(
            by_alias=True, ref_template="{model}", schema_generator=WithAttributeDocstrings
        )
        sections = _in_order(schema, schema.get("$defs", {}))
        new = [title for title in sections if title not in self._shown and not title.endswith(OVERRIDE)]
        self._shown.update(new)
        return "\n".join(_section(title, sections, level) for title in new)


class WithAttributeDocstrings(GenerateJsonSchema):
    """A schema in which the string below a field describes it, where the field says nothing itself."""

    def model_schema(self, schema: Any) -> Any:
        """Return the schema of a pydantic model."""
        return _described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> Any:
        """Return the schema of a dataclass."""
        return _described(super().dataclass_schema(schema), schema["cls"])

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:
        """Take any value where only a function of the class knows what is allowed."""
        return {}


def _described(schema: dict[str, Any], cls: type) -> dict[str, Any]:
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("greenllm"):
            for (owner, field), text in ModuleAnalyzer.for_module(base.__module__).find_attr_docs().items():
                if owner == base.__name__ and field in schema.get("properties", {}):
                    schema["properties"][field].setdefault("description", " ".join(text).strip())
    return schema


def _in_order(schema: dict[str, Any], classes: dict[str, Any]) -> dict[str, Any]:
    """Return the classes of a schema by their titles, in the order in which they are named."""
    found = {schema["title"]: schema}
    waiting = [schema]
    while waiting:
        for title in re.findall(r'"\$ref": "([^"]+)"', json.dumps(waiting.pop(0).get("properties", {}))):
            # A class that has a short form, too, is described by its long one.
            whole = classes[title] if "properties" in classes[title] else classes[title].get("anyOf", [{}])[0]
            if "properties" in whole and title not in found:
                found[title] = whole
                waiting.append(whole)
    return found


def _section(title: str, sections: dict[str, Any], level: int) -> str:
    schema = sections[title]
    head = ["| key | value | default | |", "| --- | --- | --- | --- |"]
    rows = [
        _row(key, value, key in schema.get("required", ()), sections) for key, value in schema["properties"].items()
    ]
    return "\n".join([f"{'#' * level} {title}", "", schema.get("description", ""), "", *head, *rows, ""])


def _row(key: str, schema: dict[str, Any], required: bool, sections: dict[str, Any]) -> str:
    described = schema.get("description") or sections.get(schema.get("$ref", ""), {}).get("description", "")
    default = "required" if required else _default(schema.get("default"))
    return f"| `{key}` | {_type(schema)} | {default} | {described.replace(chr(10), ' ').replace('|', '&#124;')} |"


def _default(value: Any) -> str:
    return "" if isinstance(value, dict) else f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(schema: dict[str, Any]) -> str:
    """Return what a value may be, in words; a class as a link to its section."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(_type(member) for member in schema[choice])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object":
        return f"names, each with {_type(_values(schema))}"
    return str(schema.get("type", "any")) + _bounds(schema)


def _values(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping's values."""
    by_pattern = list(schema.get("patternProperties", {}).values())
    values = by_pattern[0] if by_pattern else schema.get("additionalProperties", {})
    return values if isinstance(values, dict) else {}


def _link(title: str) -> str:
    section = title.removesuffix(OVERRIDE)
    return f"{'some of ' if section != title else ''}[{section}](#{section.lower()})"


def _bounds(schema: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f", {sign} {schema[bound]:g}" for bound, sign in signs.items() if bound in schema)
