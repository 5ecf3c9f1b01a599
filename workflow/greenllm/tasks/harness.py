"""Tasks of EleutherAI's lm-evaluation-harness, run by it on the engine that will serve the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from greenllm.config.models import Data, EmbeddedData, HarnessData
from greenllm.documents.prediction import HarnessPrediction
from greenllm.errors import UserError
from greenllm.tasks.task import DataOrigin, Sums, Task, mean_of


class Harness(Task[HarnessPrediction]):
    """Any task of the harness: the harness makes the requests and scores what the engine returns.

    `score` is the mean over the examples of the metric that the study names, or of each task's first one; of a metric
    for which lower is better, it is the negative. The examples' other metrics are reported beside it.
    """

    name = "harness"
    primary = "score"
    metrics: ClassVar = {"score": "mean of each example's own metric (higher is better)"}
    prediction_type = HarnessPrediction
    origin = DataOrigin(generator="lm-evaluation-harness", licence="NOASSERTION", near_duplicates=False)

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Raise UserError: the harness has its own data."""
        raise UserError(
            "data.source: the task harness has its own data; expected data: {source: harness, tasks: [...]}"
        )

    def reads(self, data: Data) -> bool:
        """Return whether it is a selection of the harness's tasks."""
        return isinstance(data, HarnessData)

    def check(self, settings: EmbeddedData) -> None:
        """Raise UserError, as `rows` does."""
        self.rows(settings)

    def cleaned(self, row: Mapping[str, str], clean: Callable[[str], str]) -> dict[str, str]:
        """Return the row, cleaned; some of the harness's tasks have no right answer as text."""
        return {name: clean(row[name]) for name in self.columns}

    def prompt(self, row: Mapping[str, str]) -> str:
        """Return the prompt as the harness makes it."""
        return row["prompt"]

    def completion(self, row: Mapping[str, str]) -> str:
        """Return the right answer."""
        return row["completion"]

    def score(self, answers: Sequence[HarnessPrediction]) -> dict[str, float]:
        """Return the mean of each metric that all these examples have."""
        return {name: float(np.mean(values)) for name, values in _values(answers).items()}

    def chance(self, answers: Sequence[HarnessPrediction]) -> float | None:
        """Return the mean of the examples' chance levels; None if one is unknown."""
        levels = [answer.chance for answer in answers if answer.chance is not None]
        return float(np.mean(levels)) if len(levels) == len(answers) else None

    def sums(self, answers: Sequence[HarnessPrediction]) -> dict[str, Sums]:
        """Return the metrics of each example."""
        return {name: mean_of(np.array(values)) for name, values in _values(answers).items()}


def _values(answers: Sequence[HarnessPrediction]) -> dict[str, list[float]]:
    common = [name for name in answers[0].metrics if all(name in answer.metrics for answer in answers)]
    by_metric = {name: [answer.metrics[name] for answer in answers] for name in common}
    return {**by_metric, "score": [answer.score for answer in answers]}  # a task's own metric may be called so, too
