"""The declared step between a generated text and the answer that is scored."""

import re
from collections.abc import Iterable

from greenllm.config.models import Extraction
from greenllm.documents.evaluation import AnswerExtraction


def extracted(text: str, steps: Extraction) -> str | None:
    """Return the answer in a generated text, without white space around it; None where a step finds nothing."""
    if steps.after is not None:
        _, marker, text = text.partition(steps.after)
        if not marker:
            return None
    if steps.first_line:
        text = next((line for line in text.splitlines() if line.strip()), "")
    if steps.pattern is not None:
        match = re.search(steps.pattern, text)
        if match is None:
            return None
        text = (match[1] or "") if match.re.groups else match[0]
    return text.strip() or None


def described(steps: Extraction, texts: Iterable[str]) -> AnswerExtraction:
    """Return the steps and the number of generated texts without an answer, for the evaluation's record."""
    return AnswerExtraction(**steps.model_dump(), missing=sum(extracted(text, steps) is None for text in texts))
