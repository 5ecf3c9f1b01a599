"""YAML as a user means it: names that stand twice, and words that YAML takes for something else, are refused."""

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

INT, FLOAT, BOOL, DATE, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "timestamp", "merge"))
# 12, -3, 1_000_000: what a person takes for the number that YAML 1.1 takes it for.
PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9]*|[1-9][0-9]{0,2}(_[0-9]{3})+)")
PLAIN_BOOL = ("true", "false")


def load_yaml(text: str) -> Any:
    """Return the content of a YAML or JSON text.

    Raises yaml.YAMLError where it is none; where a name stands twice in one mapping; and where a word without quotes
    is something else to YAML 1.1 than to its reader: NO (false), 0123 (octal), 12:30 (sexagesimal), 1_0, a date.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; raise ConstructorError where a name stands in it twice."""
        if isinstance(node, MappingNode):
            self._require_each_once(node)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Return a node's value; raise ConstructorError where it is not what is written there."""
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
