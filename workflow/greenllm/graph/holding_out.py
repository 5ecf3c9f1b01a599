"""What is asked in training and what in tests: entities, combinations, phrasings and unknown names, held out apart."""

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from greenllm.graph.facts import LONGEST_LABEL, MOST_MEMBERS
from greenllm.graph.phrasings import Phrasings
from greenllm.graph.triples import Graph, Hop, Path
from greenllm.graph.words import words

SEEN, PHRASINGS, ENTITIES, OUTSIDE = "seen", "held-out phrasings", "held-out entities", "outside the graph"

HELD_OUT = 0.15  # share of the entities, of what is asked of the others, and of the unknown names
HELD_OUT_PHRASINGS = 0.25
MOST_ENTITIES = 20_000  # asked about, drawn at random where the graph has more


class Topic(NamedTuple):
    """What is asked about: an entity, or (None) something that the graph lacks; `names` are in the languages' order."""

    entity: str | None
    names: tuple[str, ...]

    def reach(self, graph: Graph, path: Path) -> Sequence[str] | None:
        """Return what the graph answers: `Graph.reach`, and nothing where it lacks what is asked about."""
        return graph.reach(self.entity, path) if self.entity else ()


# What is asked for → about which topics. A pool's questions are drawn evenly over what is asked for.
Pool = dict[Path, list[Topic]]
Chosen = dict[tuple[Path, str], list[str]]  # what is asked for, and the language → phrasings


def topics_of(graph: Graph, languages: Sequence[str], rng: random.Random) -> list[Topic]:
    """Return the entities that have names to ask by."""
    entities = graph.entities
    if len(entities) > MOST_ENTITIES:
        entities = sorted(rng.sample(entities, MOST_ENTITIES))
    topics = [Topic(entity, tuple(graph.label(entity, language) for language in languages)) for entity in entities]
    return [topic for topic in topics if all(len(name) <= LONGEST_LABEL and words(name) for name in topic.names)]


def draw_entities(graph: Graph, topics: Sequence[Topic], share: float, rng: random.Random) -> list[str]:
    """Return a share of the entities, none that several triples point to: without such, few facts were left."""
    few = [topic.entity for topic in topics if topic.entity and _pointed_at(graph, topic.entity) <= 1]
    return rng.sample(few, round(share * len(few)))


def _pointed_at(graph: Graph, entity: str) -> int:
    return sum(len(nodes) for step, nodes in graph.around(entity).items() if step.inverse)


def split_phrasings(phrasings: Phrasings, seed: int) -> tuple[Chosen, Chosen]:
    """Return the phrasings to train and those to test, by what is asked for and language.

    Lists of one length are split alike, so a phrasing in several lists, with other relations, is held out in all.
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
                if _fits(tested, topic.reach(tested, path)):
                    new[path].append(topic)
            elif topic.entity in known:
                split = _draw_split(rng)
                answer = topic.reach(graphs[split], path)
                if _fits(graphs[split], answer):
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
    """Return the topics of which a path may be asked, be there an answer or not.

    These share another relation with those that have one (a continent's part has a region, as a territory has, so it
    may be asked for its currency; a language may not); where none has one, all that have some relation.
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


def _fits(graph: Graph, answer: Sequence[str] | None) -> bool:
    """Say whether there is an answer, and one that facts show in full."""
    return (
        answer is not None
        and 0 < len(answer) <= MOST_MEMBERS
        and all(len(label) <= LONGEST_LABEL for node in answer for label in graph.all_labels(node))
    )
