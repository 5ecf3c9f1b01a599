"""Each evaluation's scores follow from its predictions."""

from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError
from greenllm.evaluation.extraction import described, extracted
from greenllm.study import layout
from greenllm.study.results import Key
from greenllm.tasks import TASKS
from greenllm.tasks.answer_quality import quality_of
from greenllm.verify.check import Check
from greenllm.verify.differences import differences, values
from greenllm.verify.evidence import Evidence


def check_predictions(evidence: Evidence) -> CheckOutcome:
    """Score the predictions again, with the same bootstrap, and compare."""
    check = Check("predictions", "scores follow from the predictions", "values")
    try:
        evaluations = evidence.study.evaluations
    except UserError as error:
        check.skip(f"all evaluations: {error}")
        return check.outcome()
    for key in evaluations:
        try:
            _compare(check, evidence, key)
        except (KeyError, TypeError, ValueError, UserError) as error:  # a line that is no prediction
            place = evidence.name_of(evidence.study.path(layout.PREDICTIONS, key))
            check.find(place, "can't be scored", found=f"{type(error).__name__}: {error}")
    return check.outcome()


def _compare(check: Check, evidence: Evidence, key: Key) -> None:
    study, report = evidence.study, evidence.study.evaluations[key]
    place = evidence.name_of(study.path(layout.EVALUATION, key))
    rows = study.predictions(key)
    if not rows:
        check.find(evidence.name_of(study.path(layout.PREDICTIONS, key)), "is missing or empty", report.examples, 0)
        return
    settings = study.plan.evaluation(key[0])
    quality = quality_of(TASKS[report.task], rows, settings.threshold, report.bootstrap, report.seed)
    finish = [row.finish_reason for row in rows]
    steps, generated = settings.extract, [str(row.generated) for row in rows]
    again = vars(quality) | {
        "examples": len(rows) if settings.sampling is None else len(rows) // settings.sampling.draws,
        "tokens": sum(row.tokens for row in rows),
        "prompt_tokens": sum(row.prompt_tokens for row in rows),
        "finish": {name: finish.count(name) for name in ("stop", "length")},
        "extraction": None if steps is None else described(steps, generated),
    }
    found, expected = report.model_dump(), report.model_copy(update=again).model_dump()
    given = [name for name in again if found.get(name) not in (None, {})]
    check.count(values({name: expected[name] for name in given}))
    for one in differences({name: expected[name] for name in given}, {name: found[name] for name in given}):
        check.find(f"{place}: {one.place}", one.what, one.expected, one.found)
    for row, text in zip(rows, generated, strict=True):
        if steps is not None and (answer := extracted(text, steps) or "") != row.prediction:
            check.find(f"{place}: row {row.id}", "isn't the answer in the generated text", answer, row.prediction)
