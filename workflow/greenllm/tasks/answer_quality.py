"""Quality of a model's answers: of all, of each kind of example, and of those not handed over to a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from greenllm.documents.evaluation import HandedOver, SubsetQuality
from greenllm.documents.prediction import Prediction
from greenllm.estimate import Interval
from greenllm.tasks.bootstrap import bounds_of, scores_with_intervals
from greenllm.tasks.draws import by_row
from greenllm.tasks.task import Task, mean_of


@dataclass(frozen=True)
class AnswerQuality:
    """What predictions say of a model, each metric with its 95 % interval.

    `subsets` has the metrics of each kind of example. `hand_over` is about the answers that remain if those of little
    confidence go to a person. It is None if the engine reports no confidence, or if the task scores something else than
    answers. `chance` is the primary metric of a model that ignores its input.
    """

    metrics: Mapping[str, Interval]
    subsets: Mapping[str, SubsetQuality]
    hand_over: HandedOver | None
    chance: float | None


def quality_of(task: Task, answers: Sequence[Prediction], threshold: float, samples: int, seed: int) -> AnswerQuality:
    """Return the quality, from `samples` bootstrap samples; a confidence below `threshold` is little."""

    def metrics(some: Sequence[Prediction]) -> dict[str, Interval]:
        return scores_with_intervals(task, some, samples, seed) if some else {}

    def handed_over() -> HandedOver | None:
        confidences = [answer.confidence for answer in answers if answer.confidence is not None]
        if not task.scores_answers or len(confidences) < len(answers):
            return None
        sure = np.array([confidence >= threshold for confidence in confidences])
        kept = [answer for answer, keep in zip(answers, sure, strict=True) if keep]
        (coverage,) = by_row({"coverage": mean_of(sure.astype(np.float64))}, answers).values()
        return HandedOver(
            threshold=threshold,
            coverage=Interval(float(sure.mean()), *bounds_of(coverage, samples, seed)),
            examples=len(kept),
            metrics=metrics(kept),
        )

    by_kind = {
        kind: [answer for answer in answers if answer.subset == kind]
        for kind in sorted({answer.subset for answer in answers if answer.subset})
    }
    return AnswerQuality(
        metrics=metrics(answers),
        subsets={kind: SubsetQuality(examples=len(some), metrics=metrics(some)) for kind, some in by_kind.items()},
        hand_over=handed_over(),
        chance=task.chance(answers),
    )
