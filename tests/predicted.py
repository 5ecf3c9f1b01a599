"""Predictions as evaluate writes them, made by hand."""

from typing import Any

from greenllm.documents.prediction import Prediction


def predicted(right: str, given: str, kind: type[Prediction] = Prediction, **more: Any) -> Any:
    """Return a prediction of which only the answers matter, and what is in `more`."""
    around = {"id": "0", "prompt": "", "tokens": 1, "prompt_tokens": 1, "finish_reason": "stop"}
    return kind(**around | {"completion": right, "prediction": given} | more)
