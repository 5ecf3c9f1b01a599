"""What a model reaches on harness tasks: each document's metrics, and the tasks' own figures over all documents."""

import numbers
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.documents.harness import HarnessSelection
from greenllm.documents.prediction import HarnessScore
from greenllm.engines import Engine
from greenllm.errors import UserError
from greenllm.harness.engine_model import EngineModel
from greenllm.harness.loading import load_tasks
from greenllm.harness.metrics import (
    BITS_PER_BYTE,
    check_tasks,
    higher_is_better,
    named,
    numbers_of,
    primary_metric,
    require_one_metric,
)


@dataclass(frozen=True)
class HarnessResult:
    """The results by task and document, in the order of the places asked for."""

    documents: Sequence[HarnessScore]
    tasks: Mapping[str, Mapping[str, float]]
    """Task → metric → value over its documents, as lm_eval computes it."""
    passes: Sequence[int]
    """Tokens that the engine read for each request."""


def evaluate_tasks(
    engine: Engine, model: Path, selection: HarnessSelection, places: Sequence[tuple[str, int]], *, batch: int
) -> HarnessResult:
    """Evaluate the documents at `places` (task's name, document's number) on an engine, `batch` requests at a time.

    Raises UserError if a task or its data can't be had, the engine can't compute what it needs, or the tasks have no
    common metric with a number for each document.
    """
    from lm_eval.evaluator import evaluate

    folder = None if selection.include_path is None else Path(selection.include_path)
    tasks = load_tasks(selection.tasks, selection.num_fewshot, folder)
    chosen: defaultdict[str, list[int]] = defaultdict(list)
    for name, number in places:
        if name not in tasks:
            raise UserError(f"the harness has no task {name} any more; collect the data again")
        chosen[name].append(number)
    for numbers_of_task in chosen.values():
        numbers_of_task.sort()
    asked = {name: tasks[name] for name in chosen}
    check_tasks(asked, selection.metric)
    adapter = EngineModel(engine, model, batch=batch)
    found: Any = evaluate(
        adapter,
        {"tasks": asked, "groups": {}},
        samples=dict(chosen),
        bootstrap_iters=0,
        system_instruction=selection.system,
        apply_chat_template=selection.chat,
        fewshot_as_multiturn=selection.chat,
    )
    documents: dict[tuple[str, int], HarnessScore] = {}
    primaries: dict[str, str] = {}
    for name in chosen:
        by_number = {
            number: numbers_of(tasks[name], metrics)
            for number, metrics in _metrics_by_document(found["samples"][name]).items()
        }
        primaries[name] = primary_metric(name, _common(list(by_number.values())), selection.metric)
        sign = 1 if higher_is_better(tasks[name], primaries[name]) else -1
        chance = _chance(tasks[name], primaries[name], higher_is_better=sign > 0)
        documents |= {
            (name, number): HarnessScore(score=sign * known[primaries[name]], chance=chance, metrics=known)
            for number, known in by_number.items()
        }
    require_one_metric(primaries)
    figures = {name: _numbers(found["results"][name]) for name in chosen}
    return HarnessResult([documents[place] for place in places], figures, adapter.passes)


def _metrics_by_document(samples: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for sample in samples:
        found[sample["doc_id"]] |= {named(name, sample["filter"]): sample[name] for name in sample["metrics"]}
    return dict(found)


def _common(documents: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the metrics that all of a task's documents have."""
    return [metric for metric in documents[0] if all(metric in known for known in documents)]


def _chance(task: Any, metric: str, *, higher_is_better: bool) -> float | None:
    """Return what a model that ignores its input reaches: the mean of 1 over the number of choices; 0 if free.

    None if it is unknown: a metric for which lower is better has no worst value in general.
    """
    if metric == BITS_PER_BYTE:
        return -8.0
    if not higher_is_better:
        return None
    if task.OUTPUT_TYPE != "multiple_choice" or not metric.startswith("acc"):
        return 0.0
    # Requests are no measure of it: some metrics also ask for each choice without its question.
    choices = {request.doc_id: len(task.doc_to_choice(request.doc)) for request in task.instances}
    return sum(1 / count for count in choices.values()) / len(choices)


def _numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics among lm_eval's results of one task: those of no filter by their name alone."""
    return {
        name.removesuffix(",none"): float(value)
        for name, value in results.items()
        if "," in name and "_stderr" not in name and isinstance(value, numbers.Real)
    }
