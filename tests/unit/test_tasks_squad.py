"""SQuAD's metrics, and answers that are extracted from generated texts."""

import pytest
from predicted import predicted

from greenllm.config.models import Evaluation, Extraction
from greenllm.config.read import ConfigError, validate
from greenllm.evaluation.extraction import extracted
from greenllm.tasks import TASKS


@pytest.mark.parametrize(
    ("right", "given", "exact", "f1", "contains"),
    [
        ("Paris", "the  PARIS!", 1, 1, 1),
        ("Paris", "The capital of France is Paris.", 0, 2 / 6, 1),
        ("Mali", "Somalia", 0, 0, 0),
        ("New York", "York is new", 0, 0.8, 0),
        ("well-known", "wellknown", 1, 1, 1),
        ("a theatre", "theatre", 1, 1, 1),
        ("西非法郎", "答案是西非法郎。", 0, 0, 1),
        ("Paris", "", 0, 0, 0),
        ("the", "", 0, 0, 0),
        ("A", "a.", 1, 1, 1),
        ("the", "Paris", 0, 0, 0),
    ],
)
def test_case_punctuation_articles_and_white_space_do_not_count(right, given, exact, f1, contains):
    scores = TASKS["question-answering"].score([predicted(right, given)])
    found = [scores[name] for name in ("squad_exact_match", "squad_f1", "contains")]
    assert found == pytest.approx([exact, f1, contains])


TEXT = "I think.\nAnswer:\n\n 42 apples, 7 pears \nAnswer: 3"


@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        ({"after": "Answer:"}, "42 apples, 7 pears \nAnswer: 3"),
        ({"after": "Answer:", "first_line": True}, "42 apples, 7 pears"),
        ({"after": "Answer:", "first_line": True, "pattern": r"\d+"}, "42"),
        ({"pattern": r"(\d+) pears"}, "7"),
        ({"pattern": "(x)|apples"}, None),
        ({"first_line": True, "pattern": r"\d"}, None),
        ({"after": "####"}, None),
        ({"after": "3", "first_line": True}, None),
    ],
)
def test_each_step_narrows_the_text_for_the_next(steps, answer):
    assert extracted(TEXT, Extraction(**steps)) == answer


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"pattern": "(a"}, r"extract\.pattern: .*not a regular expression"),
        ({}, "expected at least one of after, first_line and pattern"),
        ({"marker": "a"}, "marker"),
    ],
)
def test_steps_that_cannot_be_done_are_one_line(steps, message):
    with pytest.raises(ConfigError, match=message) as refused:
        validate({"extract": steps}, Evaluation, "evaluate")
    assert len(refused.value.problems) == 1
