"""The answers that a graph has to one question about different entities: choices for one of them."""

import functools
import random
from collections.abc import Sequence

from greenllm.graph.facts import joined
from greenllm.graph.holding_out import Topic, fits
from greenllm.graph.triples import Graph, Path


class Answers:
    """The answers at the end of each path, over all topics of a graph."""

    def __init__(self, graph: Graph, topics: Sequence[Topic], languages: Sequence[str]) -> None:
        self._graph, self._topics, self._languages = graph, topics, languages
        self._of = functools.cache(self._all)

    def beside(self, topic: Topic, path: Path, language: int, count: int, rng: random.Random) -> list[str]:
        """Return up to `count` different answers in random order: the topic's own, and others'.

        Another answer shares no member with the topic's own, so it is not partly right.
        """
        nodes = topic.reach(self._graph, path) or ()
        own, members = self._text(nodes, language), set(nodes)
        others = [text for text, ends in self._of(path, language) if text != own and members.isdisjoint(ends)]
        choices = [own, *rng.sample(others, min(count - 1, len(others)))]
        rng.shuffle(choices)
        return choices

    def _all(self, path: Path, language: int) -> list[tuple[str, Sequence[str]]]:
        """Return each different answer's text and nodes, sorted by text."""
        ends = (topic.reach(self._graph, path) for topic in self._topics if topic.entity)
        return sorted(
            {self._text(nodes, language): nodes for nodes in ends if nodes and fits(self._graph, nodes)}.items()
        )

    def _text(self, nodes: Sequence[str], language: int) -> str:
        return joined([self._graph.label(node, self._languages[language]) for node in nodes])
