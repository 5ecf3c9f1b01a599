"""Multiple choice by likelihood: of several answers to a prompt, which one does the model find the likeliest?"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from greenllm.config.models import EmbeddedData, GraphData
from greenllm.documents.prediction import ChoicePrediction
from greenllm.errors import quoted
from greenllm.graph.holding_out import OUTSIDE
from greenllm.graph.questions import CHOICES
from greenllm.graph.triples import Graph
from greenllm.tasks.question_answering import QuestionAnswering
from greenllm.tasks.task import Sums, Task, mean_of, one_line


class MultipleChoice(Task[ChoicePrediction]):
    """A prompt and its choices; the model's choice is the one that it finds the likeliest after the prompt.

    The likelihoods are those of the engine that will serve the model (`ScoresTexts.loglikelihoods`). Of equally likely
    choices the first one counts. The model also answers each prompt freely, as a served one does; these answers are
    compared with those of the server, and have no influence on the quality.
    """

    name = "multiple-choice"
    primary = "accuracy"
    metrics: ClassVar = {
        "accuracy": "share of prompts whose right choice is the likeliest (0 to 1, higher is better)",
        "accuracy_by_length": "the same, with the log-likelihood divided by the choice's UTF-8 bytes",
    }
    prediction_type = ChoicePrediction
    columns = ("prompt", "choices", "answer")
    subsets: ClassVar = {  # without `outside the graph`: its right answer is no choice
        kind: meaning for kind, meaning in QuestionAnswering.subsets.items() if kind != OUTSIDE
    }
    origin = QuestionAnswering.origin

    def __init__(self) -> None:
        self._questions = QuestionAnswering()

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make questions over the knowledge graph, each with its facts and answers of the same relation."""
        return self._questions.rows(settings, choices=CHOICES)

    def check(self, settings: EmbeddedData) -> None:
        """Raise UserError if the embedded questions lack one of the languages."""
        self._questions.check(settings)

    def rows_about(self, graph: Graph, settings: GraphData) -> Iterator[dict[str, str]]:
        """Make questions about a graph of any subject, each with answers of the same relation."""
        return self._questions.rows_about(graph, settings, choices=CHOICES)

    def prompt(self, row: Mapping[str, str]) -> str:
        """Return the prompt with its lines, such as those of examples before the question, and a line break."""
        return row["prompt"] + "\n"

    def completion(self, row: Mapping[str, str]) -> str:
        """Return the right choice. Raises ValueError if `answer` names none."""
        choices, answer = self.choices(row), row["answer"].strip()
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]
        number = re.fullmatch(r"(\d+)(?:\.0+)?", answer)  # some tools write whole numbers as 1.0
        index = letters.find(answer) if re.fullmatch("[A-Z]", answer) else int(number[1]) if number else -1
        if not 0 <= index < len(choices):
            raise ValueError(
                f"the answer is {quoted(answer)}; expected the number of one of the {len(choices)} choices, counted "
                f"from 0, or its letter ({letters[0]} to {letters[-1]})"
            )
        return choices[index]

    def choices(self, row: Mapping[str, str]) -> list[str]:
        """Return the choices, one line each. Raises ValueError if they are not a list of different texts."""
        try:
            given = json.loads(row["choices"])
        except ValueError:
            given = None
        if not isinstance(given, list) or not all(isinstance(choice, str) for choice in given):
            raise ValueError('the choices are not a list of texts; expected one such as ["yes", "no"]')
        choices = [one_line(choice) for choice in given]
        if len(choices) < 2 or len(set(choices)) < len(choices) or not all(choices):
            raise ValueError(f"the choices are {quoted(row['choices'])}; expected two or more different texts")
        return choices

    def score(self, answers: Sequence[ChoicePrediction]) -> dict[str, float]:
        """Return the shares of right choices."""
        return {name: float(right.mean()) for name, right in _right(answers).items()}

    def chance(self, answers: Sequence[ChoicePrediction]) -> float:
        """Return the accuracy of a choice at random: the mean of 1 over the number of choices."""
        return float(np.mean([1 / len(answer.choices) for answer in answers]))

    def sums(self, answers: Sequence[ChoicePrediction]) -> dict[str, Sums]:
        """Return hits."""
        return {name: mean_of(right) for name, right in _right(answers).items()}


def _right(answers: Sequence[ChoicePrediction]) -> dict[str, NDArray[np.float64]]:
    """Return 1 for each right choice, else 0: by likelihood, and by likelihood per byte."""
    lines = [(a.choices.index(a.completion), np.array(a.choice_nats), a.choices) for a in answers]
    return {
        "accuracy": np.array([nats.argmin() == right for right, nats, _ in lines], dtype=np.float64),
        "accuracy_by_length": np.array(
            [(nats / [len(choice.encode()) for choice in choices]).argmin() == right for right, nats, choices in lines],
            dtype=np.float64,
        ),
    }
