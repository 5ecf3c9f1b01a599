"""How a task scores examples beside the model's own answers: by texts, by choices, or by lm-evaluation-harness."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from greenllm.config.models import Evaluation
from greenllm.documents.harness import FILE as HARNESS
from greenllm.documents.harness import HarnessSelection
from greenllm.engines import Engine
from greenllm.evaluation.answering import choice_likelihoods, likelihoods
from greenllm.evaluation.examples import Example, whole_texts
from greenllm.tasks.task import Task


@dataclass(frozen=True)
class Scores:
    """What the predictions say of each example, and how many tokens the engine read for it."""

    lines: Sequence[Mapping[str, Any]]
    passes: Sequence[int] = ()
    """Tokens of each pass, for the operations."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the evaluation."""


def scores_of(
    task: Task, engine: Engine, examples: Sequence[Example], model: Path, data: Path, settings: Evaluation
) -> Scores:
    """Return the scores that the task asks for; empty lines where quality is that of the answers.

    Raises UserError if the engine can't compute them, or the harness can't run its tasks.
    """
    if task.scores_texts:
        texts, source = whole_texts(examples, data), data / "test.parquet"
        scored = likelihoods(engine, examples, texts, batch=settings.batch, source=source)
        lines = [{"nats": one.nats, "scored_tokens": one.tokens, "scored_bytes": one.bytes} for one in scored]
        return Scores(lines, [one.tokens for one in scored])
    if task.chooses:
        chosen = choice_likelihoods(engine, examples, batch=settings.batch, source=data / "test.parquet")
        passes = [choice.context_tokens + choice.tokens - 1 for choices in chosen for choice in choices]
        return Scores([{"choice_nats": [choice.nats for choice in choices]} for choices in chosen], passes)
    if task.by_harness:
        return _by_harness(engine, examples, model, data, settings.batch)
    return Scores([{} for _ in examples])


def _by_harness(engine: Engine, examples: Sequence[Example], model: Path, data: Path, batch: int) -> Scores:
    import pyarrow.parquet

    from greenllm.harness.loading import require_harness
    from greenllm.harness.questions import place_of

    require_harness()
    from greenllm.harness.results import evaluate_tasks

    selection = HarnessSelection.read(data / HARNESS, "expected a folder that `greenllm preprocess` wrote")
    rows = pyarrow.parquet.read_table(data / "test.parquet", columns=["id", "group"]).to_pylist()
    groups = {row["id"]: row["group"] for row in rows}
    places = [place_of(groups[example.id]) for example in examples]
    found = evaluate_tasks(engine, model, selection, places, batch=batch)
    return Scores([asdict(one) for one in found.documents], found.passes, {"harness": found.tasks})
