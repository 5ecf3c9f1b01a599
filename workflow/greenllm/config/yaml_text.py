"""YAML as a user means it: repeated names are refused, and words that YAML reads as something else."""

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

INT, FLOAT, BOOL, DATE, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "timestamp", "merge"))
# 12, -3, 1_000_000: integers that a person reads as YAML 1.1 does.
PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9]*|[1-9][0-9]{0,2}(_[0-9]{3})+)")
PLAIN_BOOL = ("true", "false")


def load_yaml(text: str) -> Any:
    """Return the content of a YAML or JSON text.

    Raises yaml.YAMLError if the text is not valid, if a mapping repeats a name, and if YAML 1.1 reads a word without
    quotes as something that a person does not: NO (false), 0123 (octal), 12:30 (sexagesimal), 1_0, a date.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; raise ConstructorError if it repeats a name."""
        if isinstance(node, MappingNode):
            self._require_each_once(node)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Return a node's value; raise ConstructorError if a person would read it otherwise."""
        if isinstance(node, ScalarNode) and node.style is None and _surprises(node):
            value = super().construct_object(node, deep)
            shown = {
                BOOL: str(value).lower(),
                INT: f"the number {value}",
                FLOAT: f"the number {value}",
                DATE: "a date",
            }[node.tag]
            otherwise = "" if node.tag == DATE else f", or, if that is meant, {str(value).lower()}"
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} is {shown} to YAML; write it in quotes, '{node.value}'{otherwise}",
                node.start_mark,
            )
        return super().construct_object(node, deep)

    def _require_each_once(self, node: MappingNode) -> None:
        places: dict[Hashable, str] = {}
        for name, _ in node.value:
            if not isinstance(name, ScalarNode):
                continue
            place = f"line {name.start_mark.line + 1}, column {name.start_mark.column + 1}"
            value = name.value if name.tag == MERGE else self.construct_object(name)
            if value in places:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{name.value!r} is there twice, in {places[value]} and in {place}; expected each name once",
                    name.start_mark,
                )
            places[value] = place


def _surprises(node: ScalarNode) -> bool:
    if node.tag == BOOL:
        return node.value.lower() not in PLAIN_BOOL
    if node.tag == INT:
        return PLAIN_INT.fullmatch(node.value) is None
    if node.tag == FLOAT:  # 1_0.5, and 190:20:30.15 to the base of 60
        return "_" in node.value or ":" in node.value
    return bool(node.tag == DATE)
