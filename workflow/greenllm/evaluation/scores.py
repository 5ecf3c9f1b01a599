"""What a task scores beside the model's own answers: texts, choices, or documents of lm-evaluation-harness."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from greenllm.documents.harness import FILE as HARNESS
from greenllm.documents.harness import HarnessSelection
from greenllm.documents.prediction import (
    ChoicePrediction,
    ChoiceScore,
    Example,
    HarnessPrediction,
    Prediction,
    Score,
    TextPrediction,
    TextScore,
)
from greenllm.engines import Engine
from greenllm.engines.scoring import window_lengths
from greenllm.errors import UserError
from greenllm.evaluation.answering import choice_likelihoods, likelihoods
from greenllm.evaluation.examples import whole_texts


@dataclass(frozen=True)
class ExamplesToScore:
    """Examples of the prepared folder `data`, for the model in the folder `model` on its engine."""

    examples: Sequence[Example]
    engine: Engine
    model: Path
    data: Path
    batch: int

    @property
    def source(self) -> Path:
        """The file that the examples are from, for messages."""
        return self.data / "test.parquet"


@dataclass(frozen=True)
class Scores:
    """The score of each example, and what the engine did for it."""

    of_examples: Sequence[Score]
    passes: Sequence[int] = ()
    """Tokens that the engine read in each pass, for the operations."""
    harness: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task → metric → value as lm-evaluation-harness computes it over all examples."""


def scores_of(asked: ExamplesToScore, kind: type[Prediction]) -> Scores:
    """Return the scores that predictions of this kind have.

    Raises UserError if the engine can't compute them, or the harness can't run its tasks.
    """
    return SCORES[kind](asked)


def _of_answers(asked: ExamplesToScore) -> Scores:
    return Scores([Score() for _ in asked.examples])


def _of_texts(asked: ExamplesToScore) -> Scores:
    texts = whole_texts(asked.examples, asked.data)
    scored = likelihoods(asked.engine, asked.examples, texts, batch=asked.batch, source=asked.source)
    if not any(one.bytes for one in scored):
        raise UserError(f"{asked.source}: no text has a token that is scored; expected texts of two tokens or more")
    return Scores(
        [TextScore(nats=one.nats, scored_tokens=one.tokens, scored_bytes=one.bytes) for one in scored],
        [length for one in scored for length in window_lengths(one.tokens, asked.engine.context)],
    )


def _of_choices(asked: ExamplesToScore) -> Scores:
    scored = choice_likelihoods(asked.engine, asked.examples, batch=asked.batch, source=asked.source)
    return Scores(
        [ChoiceScore(choice_nats=[choice.nats for choice in choices]) for choices in scored],
        [choice.context_tokens + choice.tokens - 1 for choices in scored for choice in choices],
    )


def _by_harness(asked: ExamplesToScore) -> Scores:
    import pyarrow.parquet

    from greenllm.harness.loading import require_harness
    from greenllm.harness.questions import place_of

    require_harness()
    from greenllm.harness.results import evaluate_tasks

    selection = HarnessSelection.read(asked.data / HARNESS, "expected a folder that `greenllm preprocess` wrote")
    rows = pyarrow.parquet.read_table(asked.source, columns=["id", "group"]).to_pylist()
    groups = {row["id"]: row["group"] for row in rows}
    places = [place_of(groups[example.id]) for example in asked.examples]
    found = evaluate_tasks(asked.engine, asked.model, selection, places, batch=asked.batch)
    return Scores(found.documents, found.passes, found.tasks)


SCORES: Mapping[type[Prediction], Callable[[ExamplesToScore], Scores]] = {
    Prediction: _of_answers,
    TextPrediction: _of_texts,
    ChoicePrediction: _of_choices,
    HarnessPrediction: _by_harness,
}
