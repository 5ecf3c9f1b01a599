"""Questions about a graph, each with the facts around the linked entity; tests hold out questions in three ways.

Held-out entities: the graph of the training questions lacks every triple that touches one. So neither its name nor its
facts are in a training prompt, not even among a neighbour's facts. Held-out phrasings are asked only in tests. And no
combination of an entity and a path is both trained and tested, in any words.

Some questions can't be answered from the graph: they ask about a name that it lacks, or for a fact that it lacks.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from greenllm.errors import UserError
from greenllm.graph.answers import Answers
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
from greenllm.graph.words import words

NOT_IN_GRAPH = "not in the graph"
CHOICES = 4  # of a question with choices; fewer if the graph has fewer answers of that relation

TEST_SHARE = 0.12  # of the questions
OUTSIDE_SHARE = 0.1  # of the training questions
LEFT_OUT = 0.05  # share of the entities that `leave_out` removes
MOST_REPEATS = 500  # draws in a row without a new question: then no more are expected

Row = dict[str, str]


def questions(
    graph: Graph,
    phrasings: Phrasings,
    unknown: Sequence[tuple[str, ...]],
    languages: Sequence[str],
    *,
    rows: int,
    seed: int,
    choices: int | None = None,
) -> Iterator[Row]:
    """Make up to `rows` different questions, fewer if the graph has no more; the same seed makes the same questions.

    Args:
        graph: the graph that is asked about.
        phrasings: the wordings of the questions.
        unknown: names that the graph lacks, each with one name for each of `languages`.
        languages: the languages of questions and answers, drawn evenly.
        rows: largest number of questions.
        seed: seed of all that is drawn and held out.
        choices: number of answers to choose from (None: the answer is free). The others are answers to the same
            question about other entities; then each question has its answer in the graph.

    A row's `linked` (`yes` or `no`) says whether its question was linked to the right entity, or rightly to no entity;
    `ambiguous` says whether several entities have that name.

    Raises UserError if the graph is too small to ask about and to hold something out.
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
    if choices is not None:
        pools = {split: {kind: of for kind, of in kinds.items() if kind != OUTSIDE} for split, kinds in pools.items()}
    writers = {"train": _Writer(without, languages), "test": _Writer(graph, languages)}
    answers = {split: Answers(writer.graph, topics, languages) for split, writer in writers.items()}
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
        repeats += 1
        written = writers[split].row(topic, path, phrasing, language)
        if written is None:
            continue
        row = written | {"split": split, "subset": subset}
        offered: list[str] = []
        if choices is not None:
            offered = answers[split].beside(topic, path, language, choices, rng)
            row |= {"choices": json.dumps(offered, ensure_ascii=False), "answer": str(offered.index(row["completion"]))}
        if row["prompt"] not in known and (choices is None or len(offered) > 1):
            repeats = 0
            known.add(row["prompt"])
            yield row


class _Writer:
    """Writes rows with the facts of one graph."""

    def __init__(self, graph: Graph, languages: Sequence[str]) -> None:
        self.graph, self._languages = graph, languages
        self._linker = Linker(graph)

    def row(self, topic: Topic, path: Path, phrasing: str, language: int) -> Row | None:
        """Return the prompt (the linked entity's facts and the question), the right answer, and how linking went.

        None if the graph has no answer but has one about another entity of that name, which the prompt would show.
        """
        question = phrasing.format(entity=topic.names[language])
        link, code = self._linker.link(question), self._languages[language]
        facts = facts_text(self.graph, link.entity, question, code) if link else ""
        answer = topic.reach(self.graph, path) or ()
        if not answer and link and link.ambiguous and self.graph.reach(link.entity, path):
            return None
        return {
            "prompt": f"{facts} {question}".strip(),
            "completion": joined([self.graph.label(node, code) for node in answer]) or NOT_IN_GRAPH,
            "group": f"{topic.entity or topic.names[0]}: {' '.join(map(str, path))}",
            "linked": "yes" if (link and link.entity) == topic.entity else "no",
            "ambiguous": "yes" if link and link.ambiguous else "no",
        }


def leave_out(graph: Graph, languages: Sequence[str], seed: int) -> tuple[Graph, list[tuple[str, ...]]]:
    """Return the graph without some entities, and their names, for questions that the graph then can't answer.

    No other entity has one of these names, since the graph could answer a question about that one.
    """
    rng = random.Random(seed)
    bearers = Counter(name for entity in graph.entities for name in _names(graph, entity))
    topics = [
        topic
        for topic in topics_of(graph, languages, rng)
        if topic.entity and all(bearers[name] == 1 for name in _names(graph, topic.entity))
    ]
    left_out = draw_entities(graph, topics, LEFT_OUT, rng)
    names = [tuple(graph.label(entity, language) for language in languages) for entity in left_out]
    return graph.without(left_out), names


def _names(graph: Graph, entity: str) -> set[tuple[str, ...]]:
    """Return an entity's names in all languages, as questions are linked by them."""
    return {words(label) for label in graph.all_labels(entity)}


def _draw_subset(split: str, pools: Mapping[str, Sequence[Pool]], rng: random.Random) -> str:
    if split == "test":
        return rng.choice(list(pools))
    return OUTSIDE if OUTSIDE in pools and rng.random() < OUTSIDE_SHARE else SEEN
