"""Entity linking: which entity of the graph a question is about, by the graph's labels."""

from collections import defaultdict
from typing import NamedTuple

from greenllm.graph.triples import Graph
from greenllm.graph.words import words


class Link(NamedTuple):
    """The entity that a question names, and whether another one has that name, too."""

    entity: str
    ambiguous: bool


class Linker:
    """Finds labels in a text: the longest one counts, then the first.

    Of several entities of that name, the one whose label is in the text with exactly its case and accents is taken,
    then the one with the most facts, then the first by its id. The time grows with the words of the text times those
    of the longest label.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        named: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for entity in graph.entities:
            for label in graph.all_labels(entity):
                if name := words(label):
                    named[name].add(entity)
        self._entities = {
            name: sorted(entities, key=lambda entity: (-graph.degree(entity), entity))
            for name, entities in named.items()
        }
        self._longest: dict[str, int] = {}  # first word → words of the longest label that begins with it
        for name in named:
            self._longest[name[0]] = max(len(name), self._longest.get(name[0], 0))

    def link(self, text: str) -> Link | None:
        """Return the entity that the text names; None where it names none."""
        text_words = words(text)
        best: tuple[str, ...] = ()
        for start, word in enumerate(text_words):
            for length in range(self._longest.get(word, 0), 0, -1):
                name = text_words[start : start + length]
                if name in self._entities:
                    best = max(best, name, key=_characters)
                    break
        if not best:
            return None
        entities = self._entities[best]
        verbatim = [entity for entity in entities if any(label in text for label in self._graph.all_labels(entity))]
        return Link((verbatim or entities)[0], ambiguous=len(entities) > 1)


def _characters(name: tuple[str, ...]) -> int:
    return sum(map(len, name))
