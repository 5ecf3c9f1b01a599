"""Language modelling: how well does a model predict a text, token by token?

The embedded corpus is part of every Python: the topics of its documentation, and the docstrings of its standard
library, which are read from the source files without importing a module.
"""

import ast
import functools
import math
import platform
import random
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from greenllm.config.models import EmbeddedData
from greenllm.documents.prediction import TextPrediction
from greenllm.tasks.task import DataOrigin, Sums, Task

PASSAGE = 400  # characters of a passage, about 110 tokens of a small vocabulary, which fit a small model's context
BEGINNING = 80  # characters of the prompt, which a model continues
# Programs and obsolete parts, not the library itself.
LEFT_OUT = {"antigravity", "distutils", "idlelib", "lib2to3", "this", "turtledemo"}


class LanguageModelling(Task[TextPrediction]):
    """A passage of text: its beginning is the prompt, its rest the completion.

    Quality is the likelihood of the whole passage on the engine that will serve the model: of every token except the
    first, given those before it, without an end token (`ScoresTexts.score`). Bits per byte are the sum of the tokens'
    -log2 p over the UTF-8 bytes of their characters, which is comparable between tokenizers. Perplexity is exp of the
    mean -log p. Both are ratios of sums over the passages: each token, or byte, has the same weight.
    """

    name = "language-modelling"
    primary = "bits_per_byte"
    metrics: ClassVar = {
        "bits_per_byte": "bits that the model needs for a byte of text (lower is better)",
        "perplexity": "exp of the mean nats per token (1 and above, lower is better; "
        "comparable between models of one tokenizer alone)",
    }
    higher_is_better = False
    prediction_type = TextPrediction
    columns = ("text",)
    compares = ("prompt", "completion")
    subsets: ClassVar = {
        "topics": "topics of the Python documentation",
        "docstrings": "docstrings of Python's standard library",
    }
    origin = DataOrigin(
        generator=f"documentation topics and docstrings of Python {platform.python_version()}",
        licence="PSF-2.0",
        near_duplicates=True,
    )

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Cut documents, drawn at random, into at most `settings.rows` passages; each document is a group."""
        documents = [(name, kind, text) for kind, texts in _corpus().items() for name, text in texts.items()]
        random.Random(settings.seed).shuffle(documents)
        made = (
            {"text": passage, "group": f"{kind}:{name}", "subset": kind}
            for name, kind, text in documents
            for passage in passages(text, PASSAGE)
        )
        for _, row in zip(range(settings.rows), made, strict=False):
            yield row

    def prompt(self, row: Mapping[str, str]) -> str:
        """Return the passage's beginning: whole words in its first `BEGINNING` characters, at most half of it."""
        return row["text"][: _end_of_beginning(row["text"])]

    def completion(self, row: Mapping[str, str]) -> str:
        """Return the rest: prompt and completion together are the passage, with its line breaks."""
        return row["text"][_end_of_beginning(row["text"]) :]

    def score(self, answers: Sequence[TextPrediction]) -> dict[str, float]:
        """Return bits per byte and perplexity over all passages; nothing if they have no token that is scored."""
        nats = sum(answer.nats for answer in answers)
        tokens = sum(answer.scored_tokens for answer in answers)
        length = sum(answer.scored_bytes for answer in answers)
        if not length:
            return {}
        return {"bits_per_byte": nats / length / math.log(2), "perplexity": math.exp(nats / tokens)}

    def chance(self, answers: Sequence[TextPrediction]) -> float:
        """Return the bits per byte of a model to which all bytes are equally probable: log2 of their 256 values."""
        return 8.0

    def sums(self, answers: Sequence[TextPrediction]) -> dict[str, Sums]:
        """Return nats, tokens and bytes of each passage."""
        scored = np.array([[one.nats, one.scored_tokens, one.scored_bytes] for one in answers], dtype=np.float64)
        return {
            "bits_per_byte": Sums(scored, lambda sums: _quotient(sums[:, 0], sums[:, 2]) / math.log(2)),
            "perplexity": Sums(scored, lambda sums: np.exp(_quotient(sums[:, 0], sums[:, 1]))),
        }


def _quotient(nats: NDArray[np.float64], amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return nats per token or byte; NaN for a sample of passages of one token each, of which none is scored."""
    return np.divide(nats, amount, out=np.full_like(nats, np.nan), where=amount > 0)


def passages(text: str, longest: int, separators: Sequence[str] = ("\n\n", "\n", " ")) -> Iterator[str]:
    """Cut a text into passages of at most `longest` characters: between paragraphs, else lines, else words.

    A word that is longer stays whole.
    """
    if len(text) <= longest or not separators:
        yield text
        return
    separator, *finer = separators
    held = ""
    for part in text.split(separator):
        if held and len(held) + len(separator) + len(part) > longest:
            yield held
            held = ""
        *whole, part = passages(part, longest, finer)
        yield from whole
        held = f"{held}{separator}{part}" if held else part
    if held:
        yield held


def _end_of_beginning(text: str) -> int:
    most = max(1, min(BEGINNING, len(text) // 2))
    end = max(text.rfind(space, 1, most + 1) for space in " \n")
    return most if end < 0 else end


@functools.cache
def _corpus() -> dict[str, dict[str, str]]:
    """Return the documents by kind and name, in a fixed order."""
    from pydoc_data.topics import topics

    return {"topics": dict(sorted(topics.items())), "docstrings": dict(_docstrings())}


def _docstrings() -> Iterator[tuple[str, str]]:
    """Yield each public module of the standard library with all its docstrings, in the order of its source."""
    root = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names - LEFT_OUT):
        for file in sorted([root / f"{name}.py", *(root / name).rglob("*.py")]):
            module = file.relative_to(root).with_suffix("").parts
            public = file.is_file() and all(_is_public(part) for part in module)
            if public and (found := list(_docstrings_of(ast.parse(file.read_bytes())))):
                yield ".".join(module), "\n\n".join(found)


def _is_public(part: str) -> bool:
    return part == "__init__" or not (part.startswith("_") or part in ("test", "tests"))


def _docstrings_of(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if text := ast.get_docstring(node):
        yield text
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings_of(child)
