"""The interface of an application: the source of its rows, their text, and the scoring of its answers."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from greenllm.config.models import Data, Decision, EmbeddedData, Evaluation, GraphData, HarnessData
from greenllm.documents.prediction import Prediction
from greenllm.errors import UserError
from greenllm.graph.triples import Graph
from greenllm.tasks import squad

# Smallest and largest value of a metric.
RANGES: Mapping[str, tuple[float, float]] = {
    "exact_match": (0, 1),
    "accuracy": (0, 1),
    "accuracy_by_length": (0, 1),
    "macro_f1": (0, 1),
    "f1": (0, 1),
    **dict.fromkeys(squad.METRICS, (0, 1)),
    "chrf": (0, 100),
    "bits_per_byte": (0, math.inf),
}

Answer = TypeVar("Answer", bound=Prediction, default=Prediction)


@dataclass(frozen=True)
class DataOrigin:
    """The origin of a task's embedded data, for the data card."""

    generator: str  # what makes the rows, with the version of its data
    licence: str  # SPDX identifier
    # False if prompts that differ by one character have different meanings (a digit of a date): the check for
    # near-duplicates across splits would then drop rows that leak nothing.
    near_duplicates: bool


@dataclass(frozen=True)
class Sums:
    """A metric as a function of a sum over the examples: a bootstrap sample then needs only a weighted sum.

    Where examples have different numbers of answers, `answers` is each one's number, as a share of their mean.
    `wrong_and_right` has the sums of a typical example that is wrong, and of the same one if it is right.
    """

    per_example: NDArray[Any]  # shape (examples, k)
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # sums (samples, k) → scores (samples,)
    answers: NDArray[np.float64] | None = None  # shape (examples,)
    wrong_and_right: NDArray[np.float64] | None = None  # shape (2, k)


class Task(ABC, Generic[Answer]):
    """One application: text in, text out.

    A file in this folder that defines a subclass adds the task of that name. By default, prompt and completion
    are the columns of those names, and an answer is right if it equals the completion. A task of which quality is
    something else than that of the answers names its type of prediction, by which evaluation chooses what to compute.
    """

    name: ClassVar[str]
    origin: ClassVar[DataOrigin]
    primary: ClassVar[str] = "exact_match"  # name of the metric that recipes are compared by
    metrics: ClassVar[Mapping[str, str]] = {  # name → unit and direction
        "exact_match": "share of answers exactly right (0 to 1, higher is better)",
        **squad.METRICS,
    }
    higher_is_better: ClassVar[bool] = True  # of the primary metric
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = RANGES  # metrics not in it are unbounded
    columns: ClassVar[tuple[str, ...]] = ("prompt", "completion")  # columns that each row of its data must have
    # Columns of the prepared rows whose joined text a training row must not share with a test row.
    compares: ClassVar[tuple[str, ...]] = ("prompt",)
    subsets: ClassVar[Mapping[str, str]] = {}  # kinds of example that are reported separately → what they are
    # The chat reply for each completion (intent) of the embedded data, and the reply when a person takes over.
    replies: ClassVar[Mapping[str, str]] = {}
    hand_over: ClassVar[str] = "A person will answer you."
    prediction_type: ClassVar[type[Prediction]] = Prediction  # what its quality is computed from

    @abstractmethod
    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make the embedded rows: `prompt`, `completion` and `group`; the same settings make the same rows.

        Rows of one group stay in one split. Rows may have a `subset` (a kind of example, reported separately), and a
        `split` (`train` or `test`) if the task itself holds rows out.
        """

    def check(self, settings: EmbeddedData) -> None:
        """Raise UserError, which names the key, if no rows can be made from these settings."""

    def reads(self, data: Data) -> bool:
        """Return whether rows of such a source can be the task's."""
        return not isinstance(data, HarnessData)

    @property
    def has_conversations(self) -> bool:
        """Whether rows are conversations, which the model's chat template renders whole."""
        return "messages" in self.columns

    @property
    def has_choices(self) -> bool:
        """Whether rows have answers to choose from."""
        return "choices" in self.columns

    @property
    def scores_answers(self) -> bool:
        """Whether quality is that of generated answers; else extraction and sampling don't apply."""
        return self.prediction_type is Prediction

    def check_evaluation(self, evaluation: Evaluation) -> None:
        """Raise UserError, which names the keys, if the task has no use for keys of `evaluate`."""
        given = [f"evaluate.{key}" for key in ("extract", "sampling") if getattr(evaluation, key) is not None]
        if given and not self.scores_answers:
            raise UserError(
                f"{', '.join(given)}: the task {self.name} scores no answers to extract or sample; leave it out"
            )

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value of the primary metric."""
        return self.ranges.get(self.primary, (-math.inf, math.inf))

    def check_decision(self, decision: Decision) -> None:
        """Raise UserError, which names the key, if the primary metric can't reach the required quality."""
        least, most = self.range
        span = f"{self.primary} is between {least:g} and {most:g}" if most < math.inf else f"{self.primary} is a number"
        if decision.quality is not None and not least <= decision.quality <= most:
            at_least = f" of at least {least:g}" if most == math.inf and least > -math.inf else ""
            raise UserError(f"quality: {decision.quality:g} can't be reached: {span}{at_least}")
        if decision.worse_by is not None and not decision.worse_by <= most - least:
            raise UserError(f"worse_by: {decision.worse_by:g} is more than the whole range: {span}")

    def cleaned(self, row: Mapping[str, str], clean: Callable[[str], str]) -> dict[str, str]:
        """Return the row's `columns`, each text cleaned; raise ValueError, with the reason, if it is unusable then."""
        texts = {name: clean(row[name]) for name in self.columns}
        if empty := [name for name, text in texts.items() if not text]:
            raise ValueError(f"the {' and the '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty")
        return texts

    def subject(self, texts: Mapping[str, str]) -> str:
        """Return the text by which cleaned rows without a group are held out together: rows of equal words."""
        return texts[self.columns[0]]

    def prompt(self, row: Mapping[str, str]) -> str:
        """Return the model's input: one line with its line break."""
        return one_line(row["prompt"]) + "\n"

    def completion(self, row: Mapping[str, str]) -> str:
        """Return the right answer as one line."""
        return one_line(row["completion"])

    def choices(self, row: Mapping[str, str]) -> list[str]:
        """Return the answers to choose from, the right one among them; none if the answer is free.

        Raises ValueError, with the reason, if the row has no usable ones.
        """
        return []

    def score(self, answers: Sequence[Answer]) -> dict[str, float]:
        """Return each metric over all answers."""
        return {name: float(values.mean()) for name, values in _scores(answers).items()}

    def chance(self, answers: Sequence[Answer]) -> float | None:
        """Return the primary metric of a model that ignores its input: the commonest completion is its every answer.

        None if it is unknown.
        """
        ((commonest, _),) = Counter(answer.completion for answer in answers).most_common(1)
        return self.score([answer.model_copy(update={"prediction": commonest}) for answer in answers])[self.primary]

    def sums(self, answers: Sequence[Answer]) -> dict[str, Sums]:
        """Return each metric as a sum over the answers, equal to `score` on any resample of them."""
        return {name: mean_of(values) for name, values in _scores(answers).items()}


def _scores(answers: Sequence[Prediction]) -> dict[str, NDArray[np.float64]]:
    return {"exact_match": exactly_right(answers), **squad.squad_scores(answers)}


@runtime_checkable
class AsksGraphs(Protocol):
    """A task that makes its rows from a knowledge graph of any subject."""

    def rows_about(self, graph: Graph, settings: GraphData) -> Iterator[dict[str, str]]:
        """Make rows about a graph. Raises UserError if it is too small."""
        ...


def exactly_right(answers: Sequence[Prediction]) -> NDArray[np.float64]:
    """Return 1 for each answer that equals its completion except for white space, else 0."""
    return np.array([one_line(a.completion) == one_line(a.prediction) for a in answers], dtype=np.float64)


def mean_of(per_answer: NDArray[np.float64]) -> Sums:
    """Return the metric that is the mean over the answers of one number for each."""
    return Sums(per_answer[:, None], lambda sums: sums[:, 0] / len(per_answer))


def one_line(text: str) -> str:
    """Return `text` with each run of white space (also no-break spaces and line breaks) as one blank."""
    return " ".join(text.split())
