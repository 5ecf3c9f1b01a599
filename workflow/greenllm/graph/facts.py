"""The facts around an entity as the text before a question, of bounded length."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from greenllm.graph.triples import LITERAL, Graph, Hop
from greenllm.graph.words import words

MOST_FACTS = 5
MOST_MEMBERS = 4  # objects of one subject and relation
MOST_CHARACTERS = 360  # of all facts; with a question some 150 tokens
LONGEST_LABEL = 60  # characters
CUT = "…"


class Fact(NamedTuple):
    """A subject, a relation and its objects, as text; `hop` is the distance from the entity."""

    hop: int
    subject: str
    relation: str
    objects: str

    @property
    def words(self) -> set[str]:
        """The words by which a question may ask for it."""
        return set(words(f"{self.relation} {self.objects}"))


def facts_text(graph: Graph, entity: str, question: str, language: str) -> str:
    """Return the facts one and two hops around an entity, those first that share most words with the question.

    `France (currency=Euro; region=Western Europe) Western Europe (region=Europe)`: a relation that is followed
    backwards has an arrow before it. There is no blank before an object, as there is none before an answer: byte-pair
    encoding takes a word with and without one for different tokens, and what is the same is easy to copy.
    """
    asked = set(words(question))
    facts = sorted(set(_around(graph, entity, language)), key=lambda fact: (-len(fact.words & asked), fact))
    kept: list[Fact] = []
    length = 0
    for fact in facts[:MOST_FACTS]:
        length += sum(map(len, fact[1:]))
        if kept and length > MOST_CHARACTERS:
            break
        kept.append(fact)
    by_subject: defaultdict[str, list[str]] = defaultdict(list)
    for fact in kept:
        by_subject[fact.subject].append(f"{fact.relation}={fact.objects}")
    return " ".join(f"{subject} ({'; '.join(said)})" for subject, said in by_subject.items())


def joined(labels: Sequence[str]) -> str:
    """Return several objects as one text."""
    return ", ".join(labels)


def _around(graph: Graph, entity: str, language: str) -> Iterator[Fact]:
    for step, nodes in graph.around(entity).items():
        yield _fact(graph, 1, entity, step, nodes, language)
        for node in nodes[:MOST_MEMBERS]:
            if node.startswith(LITERAL):
                continue
            for second, ends in graph.around(node).items():
                if second != step.back:
                    yield _fact(graph, 2, node, second, ends, language)


def _fact(graph: Graph, hop: int, subject: str, step: Hop, nodes: Sequence[str], language: str) -> Fact:
    def label(node: str) -> str:
        text = graph.label(node, language)
        return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + CUT

    objects = [*map(label, nodes[:MOST_MEMBERS]), *([CUT] if len(nodes) > MOST_MEMBERS else [])]
    return Fact(hop, label(subject), ("← " if step.inverse else "") + label(step.relation), joined(objects))
