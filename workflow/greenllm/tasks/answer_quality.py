"""Quality of a model's answers: of all, of each kind of example, and of those not handed over to a person."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from greenllm.tasks.bootstrap import intervals, scores_with_intervals
from greenllm.tasks.draws import by_row
from greenllm.tasks.task import Answer, Task, mean_of


def quality_of(task: Task, answers: Sequence[Answer], threshold: float, samples: int, seed: int) -> dict[str, Any]:
    """Return `metrics`, `subsets` and `hand_over` of the predictions, each figure with its 95 % interval, and `chance`.

    `subsets` has the metrics of each kind of example. `hand_over` is about the answers that remain if those with a
    confidence below `threshold` go to a person: their share (`coverage`) and their metrics. It is None if the engine
    reports no confidence, or if the task scores texts or choices instead of answers. `chance` is the primary metric of
    a model that ignores its input.
    """

    def metrics(some: Sequence[Answer]) -> dict[str, dict[str, float]]:
        return scores_with_intervals(task, some, samples, seed) if some else {}

    kinds = sorted({answer["subset"] for answer in answers if answer.get("subset")})
    by_kind = {kind: [answer for answer in answers if answer.get("subset") == kind] for kind in kinds}
    quality: dict[str, Any] = {
        "metrics": metrics(answers),
        "subsets": {kind: {"examples": len(some), "metrics": metrics(some)} for kind, some in by_kind.items()},
        "hand_over": None,
        "chance": task.chance(answers),
    }
    if not task.scores_answers or any(answer["confidence"] is None for answer in answers):
        return quality
    sure = np.array([answer["confidence"] >= threshold for answer in answers])
    kept = [answer for answer, keep in zip(answers, sure, strict=True) if keep]
    bounds = intervals(by_row({"coverage": mean_of(sure.astype(np.float64))}, answers), samples, seed)["coverage"]
    quality["hand_over"] = {
        "threshold": threshold,
        "coverage": {"value": float(sure.mean()), **bounds},
        "examples": len(kept),
        "metrics": metrics(kept),
    }
    return quality
