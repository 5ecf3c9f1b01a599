"""What a model reaches on harness tasks: each document's metrics, and the tasks' own figures over all documents."""

import math
import numbers
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.documents.harness import HarnessSelection
from greenllm.engines import Engine
from greenllm.errors import UserError, listed
from greenllm.harness.engine_model import EngineModel
from greenllm.harness.loading import load_tasks

# A metric of texts whose value for one document is a pair, log p (nats) and bytes.
BITS_PER_BYTE = "bits_per_byte"


@dataclass(frozen=True)
class DocumentResult:
    """One document's metrics; `score` is the one that recipes are compared by, higher is better."""

    score: float
    chance: float
    """The score of a model that ignores its input: of one that draws a choice, 8 bits per byte, or 0."""
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class HarnessResult:
    """The results by task and document, in the order of the places asked for."""

    documents: Sequence[DocumentResult]
    tasks: Mapping[str, Mapping[str, float]]
    """Task → metric → value over its documents, as lm_eval computes it."""
    passes: Sequence[int]
    """Tokens that the engine read for each request."""


def evaluate_tasks(
    engine: Engine, model: Path, selection: HarnessSelection, places: Sequence[tuple[str, int]], *, batch: int
) -> HarnessResult:
    """Evaluate the documents at `places` (task's name, document's number) on an engine, `batch` requests at a time.

    Raises UserError if a task or its data can't be had, the engine can't compute what it needs, or it has no metric
    with a number for each document.
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
    adapter = EngineModel(engine, model, batch=batch)
    found: Any = evaluate(
        adapter,
        {"tasks": {name: tasks[name] for name in chosen}, "groups": {}},
        samples=dict(chosen),
        bootstrap_iters=0,
        system_instruction=selection.system,
        apply_chat_template=selection.chat,
        fewshot_as_multiturn=selection.chat,
    )
    documents = {
        (name, number): _result(name, tasks[name], choices, metrics, selection.metric)
        for name in chosen
        for choices in [_share_of_one_choice(tasks[name])]
        for number, metrics in _metrics_by_document(found["samples"][name]).items()
    }
    figures = {name: _numbers(found["results"][name]) for name in chosen}
    return HarnessResult([documents[place] for place in places], figures, adapter.passes)


def _metrics_by_document(samples: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return each document's metrics; one of a filter of answers is named after it, as `exact_match,flexible`."""
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for sample in samples:
        of_filter = "" if sample["filter"] == "none" else f",{sample['filter']}"
        found[sample["doc_id"]] |= {f"{name}{of_filter}": sample[name] for name in sample["metrics"]}
    return dict(found)


def _result(name: str, task: Any, by_choice: float, metrics: Mapping[str, Any], wanted: str | None) -> DocumentResult:
    known = {metric: number for metric, value in metrics.items() if (number := _number(metric, value)) is not None}
    primary = next(iter(known), None) if wanted is None else wanted
    if primary not in known:
        raise UserError(
            f"data.metric: {wanted}: {name} has no such metric with a number for each example; expected one of "
            f"{listed(list(known)) or 'another task, since it has none'}"
        )
    higher = primary != BITS_PER_BYTE and task.higher_is_better().get(primary.partition(",")[0], True)
    sign = 1 if higher else -1
    chance = -8.0 if primary == BITS_PER_BYTE else by_choice if primary.startswith("acc") else 0.0
    return DocumentResult(sign * known[primary], chance, known)


def _number(metric: str, value: Any) -> float | None:
    """Return a metric of one document as a number; None if only a value over all documents makes sense."""
    if isinstance(value, numbers.Real):
        return float(value)
    if metric == BITS_PER_BYTE and isinstance(value, tuple | list) and len(value) == 2:
        return -float(value[0]) / float(value[1]) / math.log(2)
    return None


def _share_of_one_choice(task: Any) -> float:
    """Return the mean of 1 over the number of choices; 0 if the answer is free."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return 0.0
    counts = Counter(request.doc_id for request in task.instances)
    return sum(1 / count for count in counts.values()) / len(counts)


def _numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics among lm_eval's results of one task: those of no filter by their name alone."""
    return {
        name.removesuffix(",none"): float(value)
        for name, value in results.items()
        if "," in name and "_stderr" not in name and isinstance(value, numbers.Real)
    }
