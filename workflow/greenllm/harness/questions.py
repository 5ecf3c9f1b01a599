"""The documents of harness tasks as rows of prompt and right answer: what a load sends, and what evaluation scores."""

from collections.abc import Iterator
from typing import Any

from greenllm.tasks.language_modelling import LanguageModelling

PLACE = "/"  # between the task's name and the document's number, in a row's group


def questions(tasks: dict[str, Any], limit: int | None) -> Iterator[dict[str, str]]:
    """Yield a row for each of the first `limit` documents of each task (None: all).

    The prompt is the first request's context, with its solved examples. A text that is only scored, and an answer that
    no context precedes, are divided into a beginning and its rest. The `group` names the task and the document.
    """
    for name, task in tasks.items():
        task.build_all_requests(limit=limit)
        seen: set[int] = set()
        for request in task.instances:
            if request.doc_id in seen:
                continue
            seen.add(request.doc_id)
            row = _row(task, request)
            yield row | {"group": f"{name}{PLACE}{request.doc_id}", "subset": name, "split": "test"}


def place_of(group: str) -> tuple[str, int]:
    """Return the task's name and the document's number of a row."""
    name, _, number = group.rpartition(PLACE)
    return name, int(number)


def _row(task: Any, request: Any) -> dict[str, str]:
    given = str(request.args[0])
    if request.request_type != "loglikelihood_rolling" and given.strip():
        return {"prompt": given, "completion": _right_answer(task, request)}
    text = {"text": given if given.strip() else _right_answer(task, request)}
    halves = LanguageModelling()
    return {"prompt": halves.prompt(text), "completion": halves.completion(text)}


def _right_answer(task: Any, request: Any) -> str:
    """Return the right answer as text; of several right ones, the first."""
    target = task.doc_to_target(request.doc)
    target = target[0] if isinstance(target, list) and target else target
    choices = task.doc_to_choice(request.doc) if task.OUTPUT_TYPE == "multiple_choice" else None
    return str(choices[target] if choices and isinstance(target, int) else target)
