"""Questions about a graph with the facts around the entity that was linked, some held out in three ways.

Held-out entities: the graph that training questions are answered from lacks every triple that touches one, so neither
its name nor its facts stand in a training prompt, not even as those of a neighbour. Held-out phrasings are asked only
in tests. And no pair of an entity and what is asked of it is both trained and tested, in whichever words.

Some questions can't be answered from the graph: they are about names that it does not know, or ask for what it does
not say of an entity.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from greenllm.errors import UserError
from greenllm.graph.facts import LONGEST_LABEL, MOST_MEMBERS, facts_text, joined
from greenllm.graph.linking import Linker
from greenllm.graph.phrasings import Phrasings
from greenllm.graph.triples import Graph, Path, Step
from greenllm.graph.words import words

NOT_IN_GRAPH = "not in the graph"
SEEN, PHRASINGS, ENTITIES, OUTSIDE = "seen", "held-out phrasings", "held-out entities", "outside the graph"

TEST_SHARE = 0.12  # of the questions
OUTSIDE_SHARE = 0.15  # of the training questions
HELD_OUT = 0.15  # share of the entities, of what is asked of the others, and of the unknown names
HELD_OUT_PHRASINGS = 0.25
LEFT_OUT = 0.05  # share of the entities that `leave_out` takes
MOST_ENTITIES = 20_000  # asked about, drawn at random where the graph has more
MOST_REPEATS = 500  # draws without a new question, after which there are taken to be no more

Row = dict[str, str]


class Topic(NamedTuple):
    """What is asked about: an entity, or (None) something that the graph lacks; `names` are in the languages' order."""

    entity: str | None
    names: tuple[str, ...]


# What is asked for → about which topics. A pool's questions are drawn evenly over what is asked for.
Pool = dict[Path, list[Topic]]
Chosen = dict[tuple[Path, str], list[str]]  # what is asked for, and the language → phrasings


def questions(
    graph: Graph,
    phrasings: Phrasings,
    unknown: Sequence[tuple[str, ...]],
    languages: Sequence[str],
    *,
    rows: int,
    seed: int,
) -> Iterator[Row]:
    """Make up to `rows` different questions, fewer where the graph has no more; the same seed gives the same ones.

    Args:
        graph: what is asked about.
        phrasings: how.
        unknown: names that the graph lacks, each in the order of `languages`.
        languages: those of questions and answers, evenly.
        rows: how many questions to make.
        seed: of what is drawn and held out.

    Each row says by `linked` (`yes` or `no`) whether its question was linked to the right entity, or rightly to none,
    and by `ambiguous` whether several entities have that name.

    Raises UserError where the graph is too small to ask about and to hold something out.
    """
    rng = random.Random(seed)
    topics = _topics(graph, languages, rng)
    held_out = set(_draw_entities(graph, topics, HELD_OUT, rng))
    without = graph.without(held_out)
    strangers = [Topic(None, names) for names in unknown]
    pools = _pools(without, graph, list(phrasings), topics, strangers, held_out, rng)
    if any(SEEN not in of_split for of_split in pools.values()):
        raise UserError(
            f"the graph has too little to ask about with something held out ({len(graph.triples)} triples between "
            f"{len(graph.entities)} entities); expected some dozens of entities that have the same relations"
        )
    writers = {"train": _Writer(without, languages), "test": _Writer(graph, languages)}
    trained, tested = _split_phrasings(phrasings, seed)
    known: set[str] = set()
    repeats = 0
    while len(known) < rows and repeats < MOST_REPEATS:
        split = "test" if rng.random() < TEST_SHARE else "train"
        subset = _draw_subset(split, pools[split], rng)
        pool = rng.choice(pools[split][subset])
        path = rng.choice(list(pool))
        topic, language = rng.choice(pool[path]), rng.randrange(len(languages))
        phrasing = rng.choice((tested if subset == PHRASINGS else trained)[path, languages[language]])
        row = writers[split].row(topic, path, phrasing, language) | {"split": split, "subset": subset}
        repeats += 1
        if row["prompt"] not in known:
            repeats = 0
            known.add(row["prompt"])
            yield row


class _Writer:
    """Writes the rows whose facts are those of one graph."""

    def __init__(self, graph: Graph, languages: Sequence[str]) -> None:
        self.graph, self._languages = graph, languages
        self._linker = Linker(graph)

    def row(self, topic: Topic, path: Path, phrasing: str, language: int) -> Row:
        """Return the prompt (the linked entity's facts and the question), the right answer, and how linking went."""
        question = phrasing.format(entity=topic.names[language])
        link, code = self._linker.link(question), self._languages[language]
        facts = facts_text(self.graph, link.entity, question, code) if link else ""
        answer = _reach(self.graph, topic, path) or ()
        return {
            "prompt": f"{facts} {question}".strip(),
            "completion": joined([self.graph.label(node, code) for node in answer]) or NOT_IN_GRAPH,
            "group": f"{topic.entity or topic.names[0]}: {' '.join(map(str, path))}",
            "linked": "yes" if (link and link.entity) == topic.entity else "no",
            "ambiguous": "yes" if link and link.ambiguous else "no",
        }


def leave_out(graph: Graph, languages: Sequence[str], seed: int) -> tuple[Graph, list[tuple[str, ...]]]:
    """Return the graph without some of its entities, and their names: what it then does not know can be asked about."""
    rng = random.Random(seed)
    left_out = _draw_entities(graph, _topics(graph, languages, rng), LEFT_OUT, rng)
    names = [tuple(graph.label(entity, language) for language in languages) for entity in left_out]
    return graph.without(left_out), names


def _topics(graph: Graph, languages: Sequence[str], rng: random.Random) -> list[Topic]:
    """Return the entities that have names to ask by."""
    entities = graph.entities
    if len(entities) > MOST_ENTITIES:
        entities = sorted(rng.sample(entities, MOST_ENTITIES))
    topics = [Topic(entity, tuple(graph.label(entity, language) for language in languages)) for entity in entities]
    return [topic for topic in topics if all(len(name) <= LONGEST_LABEL and words(name) for name in topic.names)]


def _draw_entities(graph: Graph, topics: Sequence[Topic], share: float, rng: random.Random) -> list[str]:
    """Return a share of the entities, none that several triples point to: without such, few facts were left."""
    few = [topic.entity for topic in topics if topic.entity and _pointed_at(graph, topic.entity) <= 1]
    return rng.sample(few, round(share * len(few)))


def _pointed_at(graph: Graph, entity: str) -> int:
    return sum(len(nodes) for step, nodes in graph.around(entity).items() if step.inverse)


def _split_phrasings(phrasings: Phrasings, seed: int) -> tuple[Chosen, Chosen]:
    """Return the phrasings to train and those to test, by what is asked for and language.

    Lists of one length are split alike, so a phrasing that stands in several, with other relations, is held out in all.
    """
    trained, tested = {}, {}
    for path, by_language in phrasings.items():
        for language, given in by_language.items():
            order = list(given)
            random.Random(f"{seed} {language} {len(order)}").shuffle(order)
            held = max(1, round(HELD_OUT_PHRASINGS * len(order)))
            tested[path, language], trained[path, language] = order[:held], order[held:]
    return trained, tested


def _pools(
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
                if _fits(tested, _reach(tested, topic, path)):
                    new[path].append(topic)
            elif topic.entity in known:
                split = _draw_split(rng)
                answer = _reach(graphs[split], topic, path)
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

    These share another relation with those that have one (a region is part of something, as a territory is, so it may
    be asked for its currency; a language is not); where none has one, all that have some relation.
    """
    answering = [topic for topic in topics if _reach(graph, topic, path)]
    if not answering:
        return {topic for topic in topics if any(not step.inverse for step in _steps(graph, topic))}
    steps = {step for topic in answering for step in _steps(graph, topic)}
    return {topic for topic in topics if not steps.isdisjoint(_steps(graph, topic))}


def _draw_split(rng: random.Random) -> str:
    return "test" if rng.random() < HELD_OUT else "train"


def _draw_subset(split: str, pools: Mapping[str, Sequence[Pool]], rng: random.Random) -> str:
    if split == "test":
        return rng.choice(list(pools))
    return OUTSIDE if OUTSIDE in pools and rng.random() < OUTSIDE_SHARE else SEEN


def _reach(graph: Graph, topic: Topic, path: Path) -> Sequence[str] | None:
    return graph.reach(topic.entity, path) if topic.entity else ()


def _steps(graph: Graph, topic: Topic) -> Collection[Step]:
    return graph.around(topic.entity or "").keys()


def _fits(graph: Graph, answer: Sequence[str] | None) -> bool:
    """Say whether there is an answer, and one that facts show in full."""
    return (
        answer is not None
        and 0 < len(answer) <= MOST_MEMBERS
        and all(len(label) <= LONGEST_LABEL for node in answer for label in graph.all_labels(node))
    )
