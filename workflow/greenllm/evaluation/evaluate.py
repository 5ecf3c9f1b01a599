"""Evaluates a model: answers, scores and operations."""

import os
from dataclasses import dataclass
from pathlib import Path

from greenllm.config.models import Evaluation, Extraction
from greenllm.device_choice import DeviceChoice
from greenllm.documents.evaluation import EvaluationReport, SampledAnswers
from greenllm.documents.prediction import Example, Prediction, Score
from greenllm.engines import Completion, Engine, load_engine
from greenllm.evaluation.answering import answer, flops_of
from greenllm.evaluation.draws import drawn
from greenllm.evaluation.examples import read_examples
from greenllm.evaluation.extraction import described, extracted
from greenllm.evaluation.scores import ExamplesToScore, Scores, scores_of
from greenllm.meter.threads import usable_threads
from greenllm.tasks.answer_quality import AnswerQuality, quality_of
from greenllm.tasks.task import Task


@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluation, and the predictions that it is computed from."""

    report: EvaluationReport
    predictions: list[Prediction]
    flops: float | None
    """Operations of all answers and scored texts; None if unknown."""


def evaluate(
    model: Path, data: Path, task: Task, settings: Evaluation, *, seed: int, threads: int, device: DeviceChoice
) -> Evaluated:
    """Evaluate a model folder on the test split in a folder of `greenllm preprocess`.

    `seed` is that of the bootstrap. Raises UserError if the model, the data and the task don't fit together.
    """
    task.check_evaluation(settings)
    threads = usable_threads(threads)
    examples = read_examples(data, model, settings.rows)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the libraries read it once, when they are imported
    engine = load_engine(model, threads=threads, device=device)
    asked, decodings = drawn(examples, settings.sampling)
    scores = scores_of(ExamplesToScore(asked, engine, model, data, settings.batch), task.prediction_type)
    limits = {"batch": settings.batch, "max_tokens": settings.max_tokens}
    completions = answer(engine, asked, decodings, **limits, source=data / "test.parquet")
    predictions = [
        _prediction(task, example, completion, score, settings.extract)
        for example, completion, score in zip(asked, completions, scores.of_examples, strict=True)
    ]
    quality = quality_of(task, predictions, settings.threshold, settings.bootstrap, seed)
    result = _result(engine, task, settings, seed, len(examples), completions, quality, scores)
    return Evaluated(result, predictions, flops_of(model, completions, scores.passes))


def _prediction(
    task: Task, example: Example, completion: Completion, score: Score, steps: Extraction | None
) -> Prediction:
    """Return an answer as in the predictions: with extraction, `prediction` is the answer in the text `generated`."""
    text = completion.text
    found = {"prediction": text} if steps is None else {"prediction": extracted(text, steps) or "", "generated": text}
    return task.prediction_type(
        **example.model_dump(),
        **found,
        tokens=completion.tokens,
        prompt_tokens=completion.prompt_tokens,
        finish_reason=completion.finish_reason,
        confidence=completion.confidence,
        **score.model_dump(),
    )


def _result(
    engine: Engine,
    task: Task,
    settings: Evaluation,
    seed: int,
    examples: int,
    completions: list[Completion],
    quality: AnswerQuality,
    scores: Scores,
) -> EvaluationReport:
    finish = [completion.finish_reason for completion in completions]
    steps = settings.extract
    extraction = {} if steps is None else {"extraction": described(steps, [one.text for one in completions])}
    return EvaluationReport(
        task=task.name,
        engine=engine.name,
        precision=engine.precision,
        examples=examples,
        seed=seed,
        primary=task.primary,
        metrics=quality.metrics,
        subsets=quality.subsets,
        hand_over=quality.hand_over,
        chance=quality.chance,
        **({"harness": scores.harness} if scores.harness else {}),
        bootstrap=settings.bootstrap,
        tokens=sum(completion.tokens for completion in completions),
        prompt_tokens=sum(completion.prompt_tokens for completion in completions),
        finish={"stop": finish.count("stop"), "length": finish.count("length")},
        **extraction,
        sampling=None if settings.sampling is None else SampledAnswers(**settings.sampling.model_dump()),
    )
