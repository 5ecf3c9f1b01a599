"""Metrics and their bootstrap intervals."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predicted import predicted
from sacrebleu.metrics import CHRF
from sklearn.metrics import accuracy_score, f1_score

from greenllm.documents.prediction import ChoicePrediction, HarnessPrediction, Prediction, TextPrediction
from greenllm.estimate import Interval
from greenllm.tasks import TASKS
from greenllm.tasks.answer_quality import quality_of
from greenllm.tasks.bootstrap import scores_with_intervals

TEXTS = st.sampled_from(["card_lost", "pin_change", "order_status", "2024年5月3日", "3 mai 2024", "", "nonsense"])


def answers(references, predictions, kind=Prediction):
    scores = {
        Prediction: lambda a, b: {},
        TextPrediction: lambda a, b: scored_text(1.0 + len(b), 2 + len(a), 2 + len(a.encode())),
        ChoicePrediction: lambda a, b: {"choices": [f"not {a}", a], "choice_nats": [2.0, 1.0 if a == b else 3.0]},
        HarnessPrediction: lambda a, b: {
            "score": float(len(b)),
            "chance": 0.0,
            "metrics": {"acc": float(a == b), **({"f1": 0.5} if a == b else {})},
        },
    }
    return [predicted(a, b, kind, **scores[kind](a, b)) for a, b in zip(references, predictions, strict=True)]


def scored_text(nats, tokens, length):
    return {"nats": nats, "scored_tokens": tokens, "scored_bytes": length}


PAIRS = st.lists(st.tuples(TEXTS.filter(bool), TEXTS), min_size=1, max_size=30)


def test_a_label_counts_whatever_its_case_and_an_unknown_one_is_wrong():
    scores = TASKS["customer-service"].score(answers(["a", "b", "b", "c"], ["A ", "b", "nonsense", "b"]))
    # F1: a 1, b 2·1/(2+2) = 0.5, c 0.
    assert scores == pytest.approx({"accuracy": 0.5, "macro_f1": 0.5})


def test_translation_is_scored_by_sacrebleu():
    references, predictions = ["3 mai 2024", "2024年5月3日"], ["3 mai 2024", "2024年5月4日"]
    scores = TASKS["translation"].score(answers(references, predictions))
    assert scores["exact_match"] == 0.5
    assert scores["chrf"] == CHRF().corpus_score(predictions, [references]).score


def test_language_modelling_counts_each_byte_and_each_token_alike():
    likely = [
        predicted("", "", TextPrediction, **scored_text(8 * math.log(2), 3, 12)),
        predicted("", "", TextPrediction, **scored_text(4 * math.log(2), 1, 4)),
    ]
    assert TASKS["language-modelling"].score(likely) == pytest.approx({"bits_per_byte": 12 / 16, "perplexity": 2**3})


def test_a_choice_is_right_by_its_likelihood_or_by_that_per_byte():
    choices = ["Dollar", "Euro", "Mexican Peso"]
    task = TASKS["multiple-choice"]
    scored = [
        predicted("Euro", "", ChoicePrediction, choices=choices, choice_nats=nats)
        for nats in ([5, 4, 6], [3, 4, 9], [9, 2, 3])
    ]
    of_two = predicted("yes", "", ChoicePrediction, choices=["yes", "no"], choice_nats=[1, 2])
    assert task.score(scored) == pytest.approx({"accuracy": 2 / 3, "accuracy_by_length": 0})
    assert task.chance([*scored, of_two]) == pytest.approx((1 + 1 / 2) / 4)


def test_passages_of_one_token_have_no_score_and_do_no_harm_among_others():
    task = TASKS["language-modelling"]
    long, short = (predicted("", "", TextPrediction, **scored_text(*one)) for one in ((5.0, 3, 9), (0.0, 0, 0)))
    assert task.score([short]) == {}
    assert scores_with_intervals(task, [short, short], samples=100, seed=1) == {}
    found = scores_with_intervals(task, [long, short, short], samples=100, seed=1)["bits_per_byte"]
    assert found == pytest.approx([5 / 9 / math.log(2)] * 3)


def test_an_empty_answer_is_wrong_even_if_the_right_one_is_an_article():
    given = answers(["A", "A", "The cat", ""], ["", "a.", "cat", ""])
    for name in ("question-answering", "chat"):
        metric = TASKS[name].primary
        right = [TASKS[name].score([one])[metric] for one in given]
        assert right == [0, 1, 1, 1], name
        assert TASKS[name].score(given[:1])["contains"] == 0


def test_a_harness_tasks_own_metric_called_score_is_not_taken_for_the_one_that_recipes_are_compared_by():
    lower_is_better = {"score": -0.7, "chance": None, "metrics": {"score": 0.7}}
    given = [predicted("a", "b", HarnessPrediction, **lower_is_better)] * 2
    assert TASKS["harness"].score(given) == {"score": -0.7}
    assert TASKS["harness"].chance(given) is None


def test_chance_is_what_is_reached_without_the_input():
    given = answers(["a", "b", "b", "c"], ["a", "b", "b", "c"])
    assert TASKS["customer-service"].chance(given) == 0.5
    assert TASKS["question-answering"].chance(given) == 0.5
    uniform = [predicted("", "", TextPrediction, **scored_text(5 * 8 * math.log(2), 5, 5))]
    scored = TASKS["language-modelling"].score(uniform)["bits_per_byte"]
    assert TASKS["language-modelling"].chance(uniform) == pytest.approx(scored)


@settings(max_examples=50, deadline=None)
@given(pairs=PAIRS, seed=st.integers(0, 10))
def test_sums_over_a_resample_give_its_score(pairs, seed):
    picked = np.random.default_rng(seed).integers(0, len(pairs), len(pairs))
    for task in TASKS.values():
        right, predictions = zip(*pairs, strict=True)
        given = answers(right, predictions, task.prediction_type)
        sampled = [given[index] for index in picked]
        expected = task.score(sampled)
        for name, metric in task.sums(given).items():
            got = metric.score(metric.per_example[picked].sum(axis=0, keepdims=True))
            assert got[0] == pytest.approx(expected[name], abs=1e-9)


def test_the_interval_is_that_of_a_plain_bootstrap():
    random = np.random.default_rng(0)
    references = random.choice(["a", "b", "c"], 400).tolist()
    predictions = [label if random.random() < 0.8 else "c" for label in references]
    found = scores_with_intervals(TASKS["customer-service"], answers(references, predictions), samples=2000, seed=1)
    samples = [random.integers(0, 400, 400) for _ in range(2000)]
    true, predicted = np.array(references), np.array(predictions)
    plain = {
        "accuracy": [accuracy_score(true[index], predicted[index]) for index in samples],
        "macro_f1": [f1_score(true[index], predicted[index], average="macro") for index in samples],
    }
    for name, values in plain.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert found[name].low == pytest.approx(low, abs=0.006)
        assert found[name].high == pytest.approx(high, abs=0.006)
        assert found[name].low < found[name].value < found[name].high


@pytest.mark.parametrize("right", [True, False])
def test_the_interval_has_a_width_even_if_all_answers_are_right_or_wrong(right):
    given = answers(["a"] * 100, ["a" if right else "b"] * 100)
    of_intents = scores_with_intervals(TASKS["customer-service"], given, samples=1000, seed=1)
    of_translations = scores_with_intervals(TASKS["translation"], given, samples=1000, seed=1)
    chrf = Interval(*(bound / 100 for bound in of_translations["chrf"]))
    for found in (of_intents["accuracy"], of_intents["macro_f1"], of_translations["exact_match"], chrf):
        if not right:
            found = Interval(1 - found.value, 1 - found.high, 1 - found.low)
        assert found.value == pytest.approx(1)
        assert 0.99 < found.high <= 1 + 1e-9
        assert 0.94 < found.low < 0.98


def test_a_seed_fixes_the_interval_and_examples_are_needed():
    task = TASKS["translation"]
    given = answers(["a b", "c d", "e f"], ["a b", "c x", "e f"])
    first = scores_with_intervals(task, given, samples=150, seed=1)
    assert first == scores_with_intervals(task, given, samples=150, seed=1)
    assert set(first) == {"exact_match", "chrf"}
    with pytest.raises(ValueError, match="at least one"):
        scores_with_intervals(task, [], samples=100, seed=1)


def test_one_long_answer_takes_memory_in_proportion():
    task, long = TASKS["customer-service"], "x" * 200_000
    given = answers(["a", "b"] * 1000 + [long], ["a", "a"] * 1000 + [long])
    tracemalloc.start()
    try:
        found = task.score(given)
        (resampled,) = task.sums(given)["macro_f1"].score(task.sums(given)["macro_f1"].per_example.sum(axis=0)[None])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3) == resampled
    assert found["accuracy"] == 1001 / 2001
    assert peak < 30e6


def test_rows_that_keep_different_numbers_of_draws_have_bounds_within_the_metrics_range():
    """Answers of little confidence are handed over: here all four draws of ten rows are kept, and one of ten others."""
    kept = [(row, draw, row < 10 or draw == 0) for row in range(20) for draw in range(4)]
    given = [
        predicted("yes", "yes", id=str(row), draw=draw, confidence=0.9 if sure else 0.1) for row, draw, sure in kept
    ]
    found = quality_of(TASKS["customer-service"], given, 0.5, 1000, 1).hand_over
    assert found is not None
    assert found.examples == 50
    assert found.metrics["accuracy"].value == 1
    assert 0.7 < found.metrics["accuracy"].low < 1 == pytest.approx(found.metrics["accuracy"].high, abs=0.01)
    assert found.metrics["accuracy"].high <= 1
