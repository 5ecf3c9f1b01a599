"""What an application is: where its rows come from, how they become text, how its answers are scored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from greenllm.config.models import EmbeddedData


@dataclass(frozen=True)
class Origin:
    """Where a task's embedded data come from, for the card beside them."""

    generator: str  # what makes the rows, with the version of the data behind it
    licence: str  # SPDX identifier
    # False where prompts that differ by one character mean different things (a digit of a date): a check for
    # near-duplicates across splits would then drop rows that leak nothing.
    near_duplicates: bool


@dataclass(frozen=True)
class Sums:
    """A metric as a function of a sum over the examples, so that a bootstrap sample costs one weighted sum."""

    per_example: NDArray[Any]  # shape (examples, k)
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # sums (samples, k) → scores (samples,)


class Task(Protocol):
    """One application: text in, text out."""

    name: str
    primary: str  # name of the metric that recipes are compared by
    metrics: Mapping[str, str]  # name → unit and direction
    columns: tuple[str, ...] = ("prompt", "completion")  # columns that each row of its data must have
    origin: Origin

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make the embedded rows: `prompt`, `completion` and `group`; the same settings give the same rows."""

    def prompt(self, row: Mapping[str, str]) -> str:
        """Return the text that the model is given: one line and its end."""
        return one_line(row["prompt"]) + "\n"

    def completion(self, row: Mapping[str, str]) -> str:
        """Return the text that the model is to answer with, as one line."""
        return one_line(row["completion"])

    def score(self, references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        """Return each metric over all examples."""

    def sums(self, references: Sequence[str], predictions: Sequence[str]) -> dict[str, Sums]:
        """Return each metric as a sum over the examples, equal to `score` on any resample of them."""


def one_line(text: str) -> str:
    """Return `text` with each run of white space (also no-break spaces and line breaks) as one blank."""
    return " ".join(text.split())
