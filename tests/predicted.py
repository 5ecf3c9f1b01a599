"""Predictions as evaluate writes them, made by hand."""

from typing import Any

from greenllm.documents.prediction import Predicted, Prediction


def predicted(right: str, given: str, kind: type[Predicted] = Prediction, **more: Any) -> Predicted:  # type: ignore[assignment]
    """Return a prediction of which only the answers matter, and what is in `more`."""
    around = {"id": "0", "prompt": "", "tokens": 1, "prompt_tokens": 1, "finish_reason": "stop"}
    return kind(**around | {"completion": right, "prediction": given} | more)
