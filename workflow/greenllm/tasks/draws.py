"""Rows that are answered several times: the mean over the draws of each row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from greenllm.documents.prediction import Prediction
from greenllm.tasks.task import Sums


def by_row(sums: Mapping[str, Sums], answers: Sequence[Prediction]) -> Mapping[str, Sums]:
    """Return each metric's sums with one line per row: the mean over the row's draws.

    Draws of one row are alike, so only rows are drawn at random by a bootstrap, and swapped by a paired test. Answers
    without `draw` are each a row of its own. A row with more draws than others weighs more.
    """
    if not any(answer.draw for answer in answers):  # the first draw is 0
        return sums
    rows = {row: place for place, row in enumerate(dict.fromkeys(answer.id for answer in answers))}
    places = np.array([rows[answer.id] for answer in answers])
    return {name: _averaged(metric, places) for name, metric in sums.items()}


def _averaged(metric: Sums, places: NDArray[np.intp]) -> Sums:
    """Return a metric's sums with the mean over each row's draws; `places` is the row of each answer."""
    numbers = np.bincount(places)
    draws = numbers.mean()
    total = np.zeros((len(numbers), metric.per_example.shape[1]))
    np.add.at(total, places, metric.per_example)
    # A metric's score expects sums over all answers.
    alike = (numbers == draws).all()
    return replace(
        metric,
        per_example=total / draws,
        score=lambda sums: metric.score(sums * draws),
        answers=None if alike else numbers / draws,
    )
