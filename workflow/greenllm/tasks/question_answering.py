"""Question answering over a knowledge graph: a prompt has the facts around the linked entity, then the question."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import babel
import numpy as np
from babel.core import get_cldr_version
from numpy.typing import NDArray

from greenllm.config.models import EmbeddedData, GraphData
from greenllm.documents.prediction import Prediction
from greenllm.errors import UserError
from greenllm.graph import holding_out, questions
from greenllm.graph.cldr import city_names, cldr_graph
from greenllm.graph.cldr_phrasings import CLDR_PHRASINGS, LANGUAGES
from greenllm.graph.phrasings import phrasings_of
from greenllm.graph.triples import Graph
from greenllm.graph.words import WORD
from greenllm.tasks import squad
from greenllm.tasks.task import DataOrigin, Sums, Task, mean_of


class QuestionAnswering(Task):
    """Facts and a question in, its answer out."""

    name = "question-answering"
    metrics: ClassVar = {
        "exact_match": "share of answers with exactly the right members, in any order (0 to 1, higher is better)",
        "f1": "mean F1 score of an answer's words (0 to 1, higher is better)",
        **squad.METRICS,
    }
    subsets: ClassVar = {
        holding_out.SEEN: "entities and phrasings known from training, in a combination that is not",
        holding_out.PHRASINGS: "phrasings that training lacks",
        holding_out.ENTITIES: "entities that training lacks altogether",
        holding_out.OUTSIDE: f"what the graph does not say; right is {questions.NOT_IN_GRAPH!r}",
    }
    origin = DataOrigin(
        generator=f"Unicode CLDR {get_cldr_version()} through Babel {babel.__version__}",
        licence="Unicode-3.0",
        near_duplicates=False,
    )

    def rows(self, settings: EmbeddedData, choices: int | None = None) -> Iterator[dict[str, str]]:
        """Make questions about territories, currencies and languages, in English and `settings.languages`.

        `choices` is the number of answers to choose from (None: the answer is free).
        """
        languages = _languages(settings.languages)
        graph = cldr_graph(languages)
        phrasings = {path: {code: of[code] for code in languages} for path, of in CLDR_PHRASINGS.items()}
        cities = city_names(graph, languages)
        return questions.questions(
            graph, phrasings, cities, languages, rows=settings.rows, seed=settings.seed, choices=choices
        )

    def check(self, settings: EmbeddedData) -> None:
        """Raise UserError if the embedded questions lack one of the languages."""
        _languages(settings.languages)

    def rows_about(self, graph: Graph, settings: GraphData, choices: int | None = None) -> Iterator[dict[str, str]]:
        """Make questions about a graph of any subject; `choices` as in `rows`."""
        graph, unknown = questions.leave_out(graph, settings.languages, settings.seed)
        phrasings = phrasings_of(graph, settings.languages)
        return questions.questions(
            graph, phrasings, unknown, settings.languages, rows=settings.rows, seed=settings.seed, choices=choices
        )

    def score(self, answers: Sequence[Prediction]) -> dict[str, float]:
        """Return exact match and F1 for answers that may be lists, and SQuAD's own metrics."""
        return {name: float(values.mean()) for name, values in _scores(answers).items()}

    def sums(self, answers: Sequence[Prediction]) -> dict[str, Sums]:
        """Return the scores of each answer."""
        return {name: mean_of(values) for name, values in _scores(answers).items()}


def _scores(answers: Sequence[Prediction]) -> dict[str, NDArray[np.float64]]:
    pairs = [(answer.completion, answer.prediction) for answer in answers]
    return {
        "exact_match": np.array([_members(right) == _members(given) for right, given in pairs], dtype=np.float64),
        "f1": np.array([squad.word_f1(_words(right), _words(given)) for right, given in pairs]),
        **squad.squad_scores(answers),
    }


def _words(text: str) -> list[str]:
    """Return the words without case, punctuation and English articles; in unspaced scripts, the characters.

    Articles stay where there is no other word.
    """
    words = WORD.findall(text.casefold())
    return [word for word in words if word not in ("a", "an", "the")] or words


def _members(text: str) -> Counter[str]:
    """Return the members of an answer that is a list, independent of their order."""
    return Counter(member for part in re.split(r"[,、，]", text) if (member := " ".join(_words(part))))


def _languages(beside_english: Sequence[str]) -> list[str]:
    for code in beside_english:
        if code not in LANGUAGES:
            raise UserError(
                f"data.languages: the embedded questions are in {', '.join(LANGUAGES)}, not in {code!r}; "
                "expected some of these (English is always included)"
            )
    return list(dict.fromkeys(["en", *beside_english]))
