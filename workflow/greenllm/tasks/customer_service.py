"""Customer service: which of a bank's or a shop's intents does a customer's message have?"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from greenllm.config.models import EmbeddedData
from greenllm.documents.prediction import Prediction
from greenllm.tasks.customer_messages import messages
from greenllm.tasks.customer_replies import HAND_OVER, REPLIES
from greenllm.tasks.task import DataOrigin, Sums, Task, mean_of, one_line


class CustomerService(Task):
    """A customer's message in, its intent out."""

    name = "customer-service"
    primary = "accuracy"
    metrics: ClassVar = {
        "accuracy": "share of messages given exactly the right intent, case ignored (0 to 1, higher is better)",
        "macro_f1": "mean over the intents of their F1 score (0 to 1, higher is better)",
    }
    replies = REPLIES
    hand_over = HAND_OVER
    origin = DataOrigin(
        generator="grammar of bank and shop customers' intents, part of GreenLLM",
        licence="Apache-2.0",
        near_duplicates=True,
    )

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make `settings.rows` messages, the intents equally likely."""
        return messages(settings.rows, settings.seed)

    def score(self, answers: Sequence[Prediction]) -> dict[str, float]:
        """Return accuracy and macro-F1 over the intents that the references have (an unknown answer is wrong)."""
        from sklearn.metrics import accuracy_score, f1_score

        true, predicted = _ranks(answers)
        return {
            "accuracy": float(accuracy_score(true, predicted)),
            "macro_f1": float(f1_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)),
        }

    def sums(self, answers: Sequence[Prediction]) -> dict[str, Sums]:
        """Return hits, and for each intent how often it is true, predicted, and both."""
        true, predicted = _ranks(answers)
        intents = np.unique(true)
        is_true, is_predicted = true[:, None] == intents, predicted[:, None] == intents

        def macro_f1(sums: np.ndarray) -> np.ndarray:
            trues, predictions, both = np.split(sums, 3, axis=1)
            present = trues > 0
            # F1 = 2 TP / (2 TP + FP + FN), averaged over the intents that the sample has.
            f1 = np.divide(2 * both, trues + predictions, out=np.zeros_like(both), where=present)
            return np.asarray(f1.sum(axis=1) / present.sum(axis=1))

        counts = np.hstack([is_true, is_predicted, is_true & is_predicted]).astype(np.float64)
        typical = np.tile(is_true.mean(axis=0), 3)
        wrong = np.concatenate([typical[: 2 * len(intents)], np.zeros(len(intents))])
        return {
            "accuracy": mean_of((true == predicted).astype(np.float64)),
            "macro_f1": Sums(counts, macro_f1, wrong_and_right=np.vstack([wrong, typical])),
        }


def _ranks(answers: Sequence[Prediction]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the true and the predicted intents, each as its rank among all of them in sorted order.

    An array of the texts themselves would use the longest text's memory for each.
    """
    true = [one_line(answer.completion).casefold() for answer in answers]
    predicted = [one_line(answer.prediction).casefold() for answer in answers]
    rank = {intent: number for number, intent in enumerate(sorted({*true, *predicted}))}
    of_true, of_predicted = (np.array([rank[intent] for intent in intents]) for intents in (true, predicted))
    return of_true, of_predicted
