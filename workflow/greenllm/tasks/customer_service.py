"""Customer service: which of a bank's or a shop's intents does a customer's message have?"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from greenllm.config.models import EmbeddedData
from greenllm.tasks.customer_messages import messages
from greenllm.tasks.task import Origin, Sums, Task, one_line


class CustomerService(Task):
    """A customer's message in, its intent out."""

    name = "customer-service"
    primary = "accuracy"
    metrics: Mapping[str, str] = {
        "accuracy": "share of messages given exactly the right intent, case ignored (0 to 1, higher is better)",
        "macro_f1": "mean over the intents of their F1 score (0 to 1, higher is better)",
    }
    origin = Origin(
        generator="grammar of bank and shop customers' intents, part of GreenLLM",
        licence="Apache-2.0",
        near_duplicates=True,
    )

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make `settings.rows` messages, the intents equally likely."""
        return messages(settings.rows, settings.seed)

    def score(self, references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        """Return accuracy and macro-F1 over the intents that the references have (an unknown answer is wrong)."""
        from sklearn.metrics import accuracy_score, f1_score

        true, predicted = [_label(text) for text in references], [_label(text) for text in predictions]
        return {
            "accuracy": float(accuracy_score(true, predicted)),
            "macro_f1": float(f1_score(true, predicted, labels=sorted(set(true)), average="macro", zero_division=0)),
        }

    def sums(self, references: Sequence[str], predictions: Sequence[str]) -> dict[str, Sums]:
        """Return hits, and for each intent how often it is true, predicted, and both."""
        true = np.array([_label(text) for text in references])
        predicted = np.array([_label(text) for text in predictions])
        intents = np.unique(true)
        is_true, is_predicted = true[:, None] == intents, predicted[:, None] == intents
        hits = (true == predicted).astype(np.float64)[:, None]

        def macro_f1(sums: np.ndarray) -> np.ndarray:
            trues, predictions, both = np.split(sums, 3, axis=1)
            present = trues > 0
            # F1 = 2 TP / (2 TP + FP + FN), averaged over the intents that the sample has.
            f1 = np.divide(2 * both, trues + predictions, out=np.zeros_like(both), where=present)
            return np.asarray(f1.sum(axis=1) / present.sum(axis=1))

        return {
            "accuracy": Sums(hits, lambda sums: sums[:, 0] / len(hits)),
            "macro_f1": Sums(np.hstack([is_true, is_predicted, is_true & is_predicted]).astype(np.float64), macro_f1),
        }


def _label(text: str) -> str:
    return one_line(text).casefold()
