"""Rows that are answered several times: the mean over the draws of each row."""

from collections.abc import Mapping, Sequence

import numpy as np

from greenllm.tasks.task import Answer, Sums


def by_row(sums: Mapping[str, Sums], answers: Sequence[Answer]) -> Mapping[str, Sums]:
    """Return each metric's sums with one line per row: the mean over the row's draws.

    Draws of one row are alike, so only rows are drawn at random by a bootstrap, and swapped by a paired test. Answers
    without `draw` are each a row of its own.
    """
    if not any(answer.get("draw") for answer in answers):  # the first draw is 0
        return sums
    rows = {row: place for place, row in enumerate(dict.fromkeys(str(answer["id"]) for answer in answers))}
    places = np.array([rows[str(answer["id"])] for answer in answers])
    draws = np.bincount(places)
    averaged = {}
    for name, metric in sums.items():
        total = np.zeros((len(rows), metric.per_example.shape[1]))
        np.add.at(total, places, metric.per_example)
        averaged[name] = Sums(total / draws[:, None], metric.score)
    return averaged
