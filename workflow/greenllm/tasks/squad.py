"""SQuAD's comparison of an answer with its reference (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1).

Case, punctuation, English articles and white space don't count. A model that answers in sentences is right by
`contains` where it is wrong by exact match.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from greenllm.documents.prediction import Prediction
from greenllm.graph.words import WORD

METRICS: Mapping[str, str] = {
    "squad_exact_match": "share of answers that equal the reference after SQuAD's normalisation (0 to 1, higher is "
    "better)",
    "squad_f1": "mean F1 score of an answer's words after SQuAD's normalisation (0 to 1, higher is better)",
    "contains": "share of answers that contain the reference's words in their order, normalised as for SQuAD (0 to 1, "
    "higher is better)",
}
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def squad_normalised(text: str) -> str:
    """Return `text` in lower case without ASCII punctuation and English articles, one blank between words.

    Other than in SQuAD's own script, articles stay where nothing else would: an answer may be the letter A.
    """
    text = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", text).split() or text.split())


def squad_scores(answers: Sequence[Prediction]) -> dict[str, NDArray[np.float64]]:
    """Return each metric of `METRICS` for each answer (`completion` is the reference), between 0 and 1."""
    pairs = [(squad_normalised(answer.completion), squad_normalised(answer.prediction)) for answer in answers]
    return {
        "squad_exact_match": np.array([right == given for right, given in pairs], dtype=np.float64),
        "squad_f1": np.array([word_f1(right.split(), given.split()) for right, given in pairs], dtype=np.float64),
        "contains": np.array([_contains(right, given) for right, given in pairs], dtype=np.float64),
    }


def word_f1(right: Sequence[str], given: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall of the words; without words, both must have none."""
    if not right or not given:
        return float(right == given)
    both = (Counter(right) & Counter(given)).total()
    return 2 * both / (len(right) + len(given))


def _contains(right: str, given: str) -> bool:
    """Return whether the words of `right` follow each other in `given`; without blanks, characters are the words."""
    sought, found = WORD.findall(right), WORD.findall(given)
    if not sought:
        return right == given
    return any(found[start : start + len(sought)] == sought for start in range(len(found) - len(sought) + 1))
