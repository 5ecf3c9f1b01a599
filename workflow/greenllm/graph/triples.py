"""A knowledge graph: triples of subject, relation and object, and what its nodes are called in each language."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

LITERAL = '"'  # a node that begins so is a value, such as a number, and not an entity
ANY_LANGUAGE = ""  # tag of a label that holds in every language

# Node → language tag → its labels, the first of them the preferred one.
Labels = Mapping[str, Mapping[str, Sequence[str]]]


class Triple(NamedTuple):
    """One fact."""

    subject: str
    relation: str
    object: str


class Hop(NamedTuple):
    """One hop along a relation, or against it."""

    relation: str
    inverse: bool = False

    @property
    def back(self) -> "Hop":
        """The hop that leads back."""
        return Hop(self.relation, not self.inverse)

    def __str__(self) -> str:
        return ("← " if self.inverse else "") + self.relation


Path = tuple[Hop, ...]


class Graph:
    """Triples, found from both ends; every order is that of the sorted nodes, whatever order they came in."""

    def __init__(self, triples: Iterable[Triple], labels: Labels) -> None:
        self.triples = sorted(set(triples))
        self._labels = labels
        self._around: dict[str, dict[Hop, list[str]]] = {}
        for subject, relation, target in self.triples:
            self._around.setdefault(subject, {}).setdefault(Hop(relation), []).append(target)
            if not target.startswith(LITERAL):
                self._around.setdefault(target, {}).setdefault(Hop(relation, inverse=True), []).append(subject)
        self.entities = sorted(self._around)

    def around(self, entity: str) -> Mapping[Hop, Sequence[str]]:
        """Return the nodes one hop away, by the hop that leads there."""
        return self._around.get(entity, {})

    def degree(self, entity: str) -> int:
        """Return the number of triples that an entity is part of."""
        return sum(len(nodes) for nodes in self.around(entity).values())

    def reach(self, entity: str, path: Path) -> Sequence[str] | None:
        """Return the nodes at the end of a path; None where one of several would have to be chosen on the way."""
        *before, last = path
        for step in before:
            nodes = self.around(entity).get(step, ())
            if len(nodes) != 1:
                return None if nodes else ()
            entity = nodes[0]
        return self.around(entity).get(last, ())

    def label(self, node: str, language: str) -> str:
        """Return a node's preferred label: in the language, in any language, in another one, or the name in its IRI."""
        labels = self._labels.get(node, {})
        for tag in (language, ANY_LANGUAGE, *sorted(labels)):
            if found := labels.get(tag):
                return found[0]
        return local_name(node)

    def all_labels(self, node: str) -> set[str]:
        """Return what a node is called in all languages."""
        found = {label for labels in self._labels.get(node, {}).values() for label in labels}
        return found or {local_name(node)}

    def without(self, entities: Collection[str]) -> "Graph":
        """Return the graph without the triples that touch one of `entities`."""
        kept = (t for t in self.triples if t.subject not in entities and t.object not in entities)
        return Graph(kept, self._labels)


def local_name(node: str) -> str:
    """Return the readable end of an IRI (`…/officialLanguage` → `official language`), or the node itself."""
    if "://" not in node:
        return node
    name = unquote(re.split(r"[/#]", node.rstrip("/#"))[-1]).replace("_", " ")
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name) if name[:1].isupper() else _spaced(name)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z](?=[a-z])", lambda match: " " + match[0].lower(), name)
