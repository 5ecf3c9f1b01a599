"""Evaluates a model: answers, scores and operations."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenllm.config.models import Evaluation, Extraction
from greenllm.device_choice import DeviceChoice
from greenllm.documents.evaluation import EvaluationReport
from greenllm.engines import Completion, ContinuationLikelihood, Engine, Likelihood, load_engine
from greenllm.errors import UserError
from greenllm.evaluation.answering import answer, choice_likelihoods, flops_of, likelihoods
from greenllm.evaluation.examples import Example, read_examples, whole_texts
from greenllm.evaluation.extraction import described, extracted
from greenllm.meter.threads import usable_threads
from greenllm.tasks.answer_quality import quality_of
from greenllm.tasks.task import Task


@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluation, and the predictions that it is computed from."""

    report: EvaluationReport
    predictions: list[dict[str, Any]]
    flops: float | None
    """Operations of all answers and scored texts; None if unknown."""


def evaluate(
    model: Path, data: Path, task: Task, settings: Evaluation, *, seed: int, threads: int, device: DeviceChoice
) -> Evaluated:
    """Evaluate a model folder on the test split in a folder of `greenllm preprocess`.

    `seed` is that of the bootstrap. Raises UserError if the model, the data and the task don't fit together.
    """
    if settings.extract is not None and (task.scores_texts or task.chooses):
        raise UserError(f"evaluate.extract: the task {task.name} scores given texts, not answers; leave it out")
    threads = usable_threads(threads)
    examples = read_examples(data, model, settings.rows)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the libraries read it once, when they are imported
    engine = load_engine(model, threads=threads, device=device)
    source = data / "test.parquet"
    scored: list[Likelihood] = []
    if task.scores_texts:
        scored = likelihoods(engine, examples, whole_texts(examples, data), batch=settings.batch, source=source)
    chosen = choice_likelihoods(engine, examples, batch=settings.batch) if task.chooses else []
    completions = answer(engine, examples, batch=settings.batch, max_tokens=settings.max_tokens, source=source)
    predictions = [
        _prediction(*parts, settings.extract) for parts in itertools.zip_longest(examples, completions, scored, chosen)
    ]
    quality = quality_of(task, predictions, settings.threshold, settings.bootstrap, seed)
    result = _result(engine, task, settings, seed, completions, quality)
    flops = flops_of(model, completions, scored, [choice for choices in chosen for choice in choices])
    return Evaluated(result, predictions, flops)


def _prediction(
    example: Example,
    completion: Completion,
    scored: Likelihood | None,
    choices: Sequence[ContinuationLikelihood] | None,
    steps: Extraction | None,
) -> dict[str, Any]:
    """Return a line of the predictions: with extraction, `prediction` is the answer in the text `generated`."""
    answered = asdict(completion)
    answered.pop("scored")
    text = answered.pop("text")
    found = {"prediction": text} if steps is None else {"prediction": extracted(text, steps) or "", "generated": text}
    line = {**example.columns, **found, **answered}
    if scored is not None:
        line |= {"nats": scored.nats, "scored_tokens": scored.tokens, "scored_bytes": scored.bytes}
    if choices is not None:
        line |= {"choice_nats": [choice.nats for choice in choices]}
    return line


def _result(
    engine: Engine,
    task: Task,
    settings: Evaluation,
    seed: int,
    completions: list[Completion],
    quality: Mapping[str, Any],
) -> EvaluationReport:
    finish = [completion.finish_reason for completion in completions]
    steps = settings.extract
    extraction = {} if steps is None else {"extraction": described(steps, [one.text for one in completions])}
    return EvaluationReport(
        task=task.name,
        engine=engine.name,
        precision=engine.precision,
        examples=len(completions),
        seed=seed,
        primary=task.primary,
        **quality,
        bootstrap=settings.bootstrap,
        tokens=sum(completion.tokens for completion in completions),
        prompt_tokens=sum(completion.prompt_tokens for completion in completions),
        finish={"stop": finish.count("stop"), "length": finish.count("length")},
        **extraction,
    )
