"""Handwritten digits as text: the grey values of an image in, its digit out.

The source article's example is an image classifier. As text, it uses the same stages and metering as language models.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from greenllm.config.models import EmbeddedData
from greenllm.documents.prediction import Prediction
from greenllm.tasks.task import DataOrigin, Sums, Task, exactly_right, mean_of


class Digits(Task):
    """In: the 64 grey values (0 to 16) of an image of 8 x 8 points, row by row. Out: the digit."""

    name = "digits"
    primary = "accuracy"
    metrics: ClassVar = {"accuracy": "share of images given the right digit (0 to 1, higher is better)"}
    origin = DataOrigin(
        generator="scikit-learn's digits (Alpaydin and Kaynak 1998, UCI, doi 10.24432/C50P49)",
        licence="CC-BY-4.0",
        near_duplicates=False,
    )

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Yield the 1,797 images, at most `settings.rows`, in an order that the seed determines."""
        from sklearn.datasets import load_digits

        images, digits = load_digits(return_X_y=True)
        for index in np.random.default_rng(settings.seed).permutation(len(digits))[: settings.rows]:
            prompt = " ".join(str(int(value)) for value in images[index])
            yield {"prompt": prompt, "completion": str(digits[index]), "group": str(index)}

    def score(self, answers: Sequence[Prediction]) -> dict[str, float]:
        """Return the share of right digits."""
        return {"accuracy": float(exactly_right(answers).mean())}

    def sums(self, answers: Sequence[Prediction]) -> dict[str, Sums]:
        """Return hits."""
        return {"accuracy": mean_of(exactly_right(answers))}
