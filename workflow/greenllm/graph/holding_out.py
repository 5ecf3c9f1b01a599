"""Held-out questions: entities, combinations, phrasings and unknown names that only tests ask about."""

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from greenllm.graph.facts import LONGEST_LABEL, MOST_MEMBERS
from greenllm.graph.phrasings import Phrasings
from greenllm.graph.triples import Graph, Hop, Path
from greenllm.graph.words import words

SEEN, PHRASINGS, ENTITIES, OUTSIDE = "seen", "held-out phrasings", "held-out entities", "outside the graph"

HELD_OUT = 0.15  # share of the entities, of the other entities' questions, and of the unknown names
HELD_OUT_PHRASINGS = 0.25
MOST_ENTITIES = 20_000  # asked about; drawn at random if the graph has more


class Topic(NamedTuple):
    """The subject of a question: an entity, or None for a name that the graph lacks; a name for each language."""

    entity: str | None
    names: tuple[str, ...]

    def reach(self, graph: Graph, path: Path) -> Sequence[str] | None:
        """Return the graph's answer: `Graph.reach`, or nothing if the graph lacks the subject."""
        return graph.reach(self.entity, path) if self.entity else ()


# Path that is asked for → topics. A pool's questions are drawn evenly over the paths.
Pool = dict[Path, list[Topic]]
Chosen = dict[tuple[Path, str], list[str]]  # (path, language) → phrasings


def topics_of(graph: Graph, languages: Sequence[str], rng: random.Random) -> list[Topic]:
    """Return the entities that have names to ask by."""
    entities = graph.entities
    if len(entities) > MOST_ENTITIES:
        entities = sorted(rng.sample(entities, MOST_ENTITIES))
    topics = [Topic(entity, tuple(graph.label(entity, language) for language in languages)) for entity in entities]
    return [topic for topic in topics if all(len(name) <= LONGEST_LABEL and words(name) for name in topic.names)]


def draw_entities(graph: Graph, topics: Sequence[Topic], share: float, rng: random.Random) -> list[str]:
    """Draw entities that at most one triple points to: without any of the others, few facts would remain."""
    few = [topic.entity for topic in topics if topic.entity and _pointed_at(graph, topic.entity) <= 1]
    return rng.sample(few, round(share * len(few)))


def _pointed_at(graph: Graph, entity: str) -> int:
    return sum(len(nodes) for step, nodes in graph.around(entity).items() if step.inverse)


def split_phrasings(phrasings: Phrasings, seed: int) -> tuple[Chosen, Chosen]:
    """Return the phrasings to train and those to test, by path and language.

    Lists of equal length are split alike: a phrasing that several relations share is held out for all of them.
    """
    trained, tested = {}, {}
    for path, by_language in phrasings.items():
        for language, given in by_language.items():
            order = list(given)
            random.Random(f"{seed} {language} {len(order)}").shuffle(order)
            held = max(1, round(HELD_OUT_PHRASINGS * len(order)))
            tested[path, language], trained[path, language] = order[:held], order[held:]
    return trained, tested


def pools_of(
    trained: Graph,
    tested: Graph,
    paths: Sequence[Path],
    topics: Sequence[Topic],
    strangers: Sequence[Topic],
    held_out: Collection[str],
    rng: random.Random,
) -> dict[str, dict[str, list[Pool]]]:
    """Return split → subset → the pools to draw its questions from."""
    graphs = {"train": trained, "test": tested}
    known = set(trained.entities)
    answered: dict[str, Pool] = {split: defaultdict(list) for split in graphs}
    lacking: dict[str, Pool] = {split: defaultdict(list) for split in graphs}
    unknown: dict[str, Pool] = {split: defaultdict(list) for split in graphs}
    new: Pool = defaultdict(list)
    for stranger in strangers:
        split = _draw_split(rng)
        for path in paths:
            if not path[0].inverse:
                unknown[split][path].append(stranger)
    for path in paths:
        alike = _alike(tested, path, topics)
        for topic in topics:
            if topic.entity in held_out:
                if fits(tested, topic.reach(tested, path)):
                    new[path].append(topic)
            elif topic.entity in known:
                split = _draw_split(rng)
                answer = topic.reach(graphs[split], path)
                if fits(graphs[split], answer):
                    answered[split][path].append(topic)
                elif answer is not None and not answer and len(path) == 1 and topic in alike:
                    lacking[split][path].append(topic)
    pools = {
        "train": {SEEN: [answered["train"]], OUTSIDE: [lacking["train"], unknown["train"]]},
        "test": {
            SEEN: [answered["test"]],
            PHRASINGS: [answered["test"]],
            ENTITIES: [new],
            OUTSIDE: [lacking["test"], unknown["test"]],
        },
    }
    return {
        split: {subset: filled for subset, of_subset in subsets.items() if (filled := list(filter(None, of_subset)))}
        for split, subsets in pools.items()
    }


def _alike(graph: Graph, path: Path, topics: Sequence[Topic]) -> set[Topic]:
    """Return the topics that a path may be asked of, with or without an answer.

    These are the topics that share a relation with a topic that has an answer: a continent's part has a region, like a
    territory, so it may be asked for its currency; a language may not. If no topic has an answer, these are all topics
    with a relation.
    """
    answering = [topic for topic in topics if topic.reach(graph, path)]
    if not answering:
        return {topic for topic in topics if any(not step.inverse for step in _steps(graph, topic))}
    steps = {step for topic in answering for step in _steps(graph, topic)}
    return {topic for topic in topics if not steps.isdisjoint(_steps(graph, topic))}


def _draw_split(rng: random.Random) -> str:
    return "test" if rng.random() < HELD_OUT else "train"


def _steps(graph: Graph, topic: Topic) -> Collection[Hop]:
    return graph.around(topic.entity or "").keys()


def fits(graph: Graph, answer: Sequence[str] | None) -> bool:
    """Return whether there is an answer, short enough for the facts to show all of it."""
    return (
        answer is not None
        and 0 < len(answer) <= MOST_MEMBERS
        and all(len(label) <= LONGEST_LABEL for node in answer for label in graph.all_labels(node))
    )
