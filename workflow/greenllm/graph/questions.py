"""Questions about a graph with the facts around the entity that was linked, some held out in three ways.

Held-out entities: the graph that training questions are answered from lacks every triple that touches one, so neither
its name nor its facts are in a training prompt, not even as those of a neighbour. Held-out phrasings are asked only
in tests. And no pair of an entity and what is asked of it is both trained and tested, in whichever words.

Some questions can't be answered from the graph: they are about names that it does not know, or ask for what it does
not say of an entity.
"""

import random
from collections.abc import Iterator, Mapping, Sequence

from greenllm.errors import UserError
from greenllm.graph.facts import facts_text, joined
from greenllm.graph.holding_out import (
    HELD_OUT,
    OUTSIDE,
    PHRASINGS,
    SEEN,
    Pool,
    Topic,
    draw_entities,
    pools_of,
    split_phrasings,
    topics_of,
)
from greenllm.graph.linking import Linker
from greenllm.graph.phrasings import Phrasings
from greenllm.graph.triples import Graph, Path

NOT_IN_GRAPH = "not in the graph"

TEST_SHARE = 0.12  # of the questions
OUTSIDE_SHARE = 0.1  # of the training questions
LEFT_OUT = 0.05  # share of the entities that `leave_out` takes
MOST_REPEATS = 500  # draws without a new question, after which there are taken to be no more

Row = dict[str, str]


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
    topics = topics_of(graph, languages, rng)
    held_out = set(draw_entities(graph, topics, HELD_OUT, rng))
    without = graph.without(held_out)
    strangers = [Topic(None, names) for names in unknown]
    pools = pools_of(without, graph, list(phrasings), topics, strangers, held_out, rng)
    if any(SEEN not in of_split for of_split in pools.values()):
        raise UserError(
            f"data.file: too little to ask about with something held out ({len(graph.triples)} triples between "
            f"{len(graph.entities)} entities); expected some dozens of entities that have the same relations"
        )
    writers = {"train": _Writer(without, languages), "test": _Writer(graph, languages)}
    trained, tested = split_phrasings(phrasings, seed)
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
        answer = topic.reach(self.graph, path) or ()
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
    left_out = draw_entities(graph, topics_of(graph, languages, rng), LEFT_OUT, rng)
    names = [tuple(graph.label(entity, language) for language in languages) for entity in left_out]
    return graph.without(left_out), names


def _draw_subset(split: str, pools: Mapping[str, Sequence[Pool]], rng: random.Random) -> str:
    if split == "test":
        return rng.choice(list(pools))
    return OUTSIDE if OUTSIDE in pools and rng.random() < OUTSIDE_SHARE else SEEN
