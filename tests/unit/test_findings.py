"""The report's first lines: what to deploy, in words, and how sure that is."""

from typing import Any

import pytest

from greenllm.report.findings import findings

NARROW = 0.04  # half-width of ratios, as a share


def around(value: float, share: float = NARROW) -> dict[str, float]:
    return {"value": value, "low": value * (1 - share), "high": value * (1 + share)}


def recipe(name: str, **changes: Any) -> dict[str, Any]:
    """Return a compared recipe of accuracy 0.9 that takes 50 mJ a request, 9.1 times less than baseline."""
    quality = {"metric": "accuracy", "value": 0.897, "low": 0.88, "high": 0.91}
    difference = {"metric": "accuracy", "value": -0.003, "low": -0.007, "high": 0.001, "resolved": False}
    row = {
        "recipe": name, "is_baseline": name == "baseline", "energy_quality": "modelled", "reason": None,
        "quality": quality, "quality_difference": difference, "qualifies": "yes", "verdict": "saves",
        "energy_per_request_J": around(0.05, 0.3), "total_energy_per_request_J": around(0.051, 0.3),
        "times_less": around(9.1),
    }  # fmt: skip
    if name == "baseline":
        row |= {
            "verdict": "baseline",
            "times_less": None,
            "quality_difference": None,
            "energy_per_request_J": around(0.455),
            "total_energy_per_request_J": around(0.456),
        }
    return row | changes


LOSS: dict[str, Any] = {"times_less": around(0.8), "verdict": "loss"}
OPEN: dict[str, Any] = {"times_less": around(0.98), "verdict": "not resolvable"}
NO_ENERGY: dict[str, Any] = {
    "energy_per_request_J": None, "times_less": None, "verdict": "unknown", "reason": "no sensor can be read",
}  # fmt: skip


def said(*rows: dict[str, Any], higher_is_better: bool = True, **advice: Any) -> dict[str, Any]:
    """Return what is found of an experiment with these recipes, of which int4 is recommended unless told otherwise."""
    experiment = {
        "primary": rows[0]["quality"]["metric"] if rows[0]["quality"] else "accuracy",
        "higher_is_better": higher_is_better,
        "comparison": {"baseline": "baseline", "recipes": list(rows)},
        "recommendation": {
            "recipe": "int4", "baseline": "baseline", "reason": "the least energy", "requests": 1_000_000,
            "confidence": 0.95, "quality_bound": 0.89, "times_less": None, "total_times_less": None,
            "quality_difference": None, "front": [], "losses": [],
            "break_even_requests": {"value": 1213.0, "low": 904.0, "high": 1687.0},
        } | advice,
    }  # fmt: skip
    (found,) = findings({"experiments": {"support": experiment}})
    for text in (found["sentence"], *found["others"], found["note"]):
        assert "None" not in text
        assert "nan" not in text
    return {
        name: value.replace("\u202f", " ") if isinstance(value, str) else value for name, value in found.items()
    } | {"others": [other.replace("\u202f", " ") for other in found["others"]]}


BASELINE = recipe("baseline")


def test_the_first_line_can_be_acted_on() -> None:
    found = said(BASELINE, recipe("int4"))
    assert found["sentence"] == (
        "deploy int4. A request takes 9.10 times less energy than with baseline (8.74 to 9.46, modelled), accuracy "
        "0.897 against 0.897 (−0.7 to +0.1 points); what it cost to make is paid back after 1 200 requests "
        "(900 to 1 700)."
    )
    assert (found["experiment"], found["recipe"], found["verdict"]) == ("support", "int4", "saves")
    assert found["note"] == "Needed: accuracy of at least 0.890, 95 % sure. Expected: 1 000 000 requests."
    assert found["others"] == []


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ({"value": 0.0, "low": 0.0, "high": 0.0}, "; it cost no more to make."),
        ("never", "; what it cost to make is never paid back."),
        (None, "; when what it cost to make is paid back is unknown."),
        (
            {"value": 0.0, "low": 0.0, "high": 310.0},
            "; it cost hardly more to make, if at all: paid back after at most 310 requests.",
        ),
    ],
)
def test_when_it_is_paid_back(requests: Any, words: str) -> None:
    assert said(BASELINE, recipe("int4"), break_even_requests=requests)["sentence"].endswith(words)


def test_the_same_answers_are_called_the_same() -> None:
    same = {"metric": "accuracy", "value": 0.0, "low": 0.0, "high": 0.0, "resolved": False}
    sentence = said(BASELINE, recipe("int4", quality_difference=same))["sentence"]
    assert ", accuracy 0.897, as with baseline on every example;" in sentence


def test_a_small_difference_is_told_by_two_digits() -> None:
    bits = {"metric": "bits_per_byte", "value": 0.0003, "low": 0.00012, "high": 0.00045, "resolved": True}
    quality = {"metric": "bits_per_byte", "value": 2.39, "low": 2.36, "high": 2.42}
    found = said(recipe("baseline", quality=quality), recipe("int4", quality=quality, quality_difference=bits))
    assert "bits per byte 2.39 against 2.39 (+0.00012 to +0.00045)" in found["sentence"]


def test_less_is_better_is_said_of_bits_per_byte() -> None:
    quality = {"metric": "bits_per_byte", "value": 2.21, "low": 2.19, "high": 2.23}
    difference = {"metric": "bits_per_byte", "value": 0.012, "low": 0.008, "high": 0.016, "resolved": True}
    rows = [recipe(name, quality=quality, quality_difference=difference) for name in ("baseline", "int4")]
    found = said(*rows, higher_is_better=False, quality_bound=2.25)
    assert ", bits per byte 2.21 against 2.21 (+0.008 to +0.016);" in found["sentence"]
    assert found["note"].startswith("Needed: bits per byte of at most 2.25, 95 % sure.")


def test_baseline_is_kept_where_nothing_beats_it() -> None:
    found = said(BASELINE, recipe("sparse", **LOSS), recipe="baseline", break_even_requests=None, losses=["sparse"])
    assert found["sentence"] == (
        "deploy baseline: no other recipe that is good enough is shown to take less energy. A request takes 455 mJ "
        "(437 to 473, modelled), accuracy 0.897 (0.880 to 0.910)."
    )
    assert found["verdict"] == "baseline"
    assert found["others"] == ["sparse is a loss: it takes 1.25 times the energy of baseline (1.20 to 1.30)."]


def test_baseline_is_kept_where_nothing_else_is_good_enough() -> None:
    found = said(BASELINE, recipe("int4", qualifies="no"), recipe="baseline", break_even_requests=None)
    assert found["sentence"].startswith("deploy baseline: no other recipe is shown to be good enough. A request takes")
    assert found["others"] == [
        "int4 takes 9.10 times less (8.74 to 9.46), but is not good enough: accuracy 0.897 (0.880 to 0.910)."
    ]


def test_baseline_is_kept_where_making_another_costs_what_it_saves() -> None:
    found = said(BASELINE, recipe("int4"), recipe="baseline", break_even_requests=None)
    assert found["others"] == [
        "int4 takes 9.10 times less (8.74 to 9.46) a request, but is not shown to do so with what it cost to make."
    ]


def test_one_recipe_alone() -> None:
    found = said(BASELINE, recipe="baseline", break_even_requests=None)
    assert found["sentence"].startswith("deploy baseline, the only recipe. A request takes 455 mJ (437 to 473, modell")


def test_nothing_is_good_enough() -> None:
    rows = [recipe(name, qualifies="no") for name in ("baseline", "int4")]
    rows[1]["quality"] = {"metric": "accuracy", "value": 0.91, "low": 0.90, "high": 0.92}
    found = said(*rows, recipe=None, quality_bound=0.95)
    assert found["sentence"] == (
        "deploy none of these: none reaches accuracy of at least 0.950. The best is int4 with accuracy 0.910 "
        "(0.900 to 0.920)."
    )
    assert (found["recipe"], found["verdict"]) == (None, "unknown")
    assert found["others"] == ["int4 takes 9.10 times less (8.74 to 9.46) than baseline."]


def test_good_enough_or_not_cannot_be_resolved() -> None:
    found = said(recipe("baseline", qualifies="no"), recipe("int4", qualifies="not resolvable"), recipe=None)
    assert found["sentence"] == (
        "nothing can be recommended yet: whether int4 (accuracy 0.897 (0.880 to 0.910)) reaches accuracy of at least "
        "0.890 is not resolvable; more examples may tell."
    )


def test_unknown_energy_recommends_nothing() -> None:
    rows = [recipe(name, **NO_ENERGY) for name in ("baseline", "int4")]
    found = said(*rows, recipe=None)
    assert found["sentence"] == (
        "nothing can be recommended yet: baseline and int4 would be good enough, but energy is unknown "
        "(no sensor can be read)."
    )
    assert found["others"] == []


def test_without_evaluations_nothing_is_recommended() -> None:
    rows = [recipe(name, quality=None, qualifies="not resolvable") for name in ("baseline", "int4")]
    assert "no recipe was evaluated" in said(*rows, recipe=None)["sentence"]


def test_a_model_that_answers_nothing_right_is_not_deployed() -> None:
    none = {"metric": "accuracy", "value": 0.0, "low": 0.0, "high": 0.0}
    found = said(*(recipe(name, quality=none) for name in ("baseline", "int4")))
    assert found["sentence"] == "deploy none of these yet: int4, the most frugal, answers nothing right."
    assert found["recipe"] is None


def test_a_cheap_making_can_decide_where_a_request_saves_nothing() -> None:
    found = said(BASELINE, recipe("int4", **OPEN), total_times_less=around(1.3), break_even_requests=None)
    assert found["sentence"].startswith(
        "deploy int4. Whether a request takes less energy than with baseline is not resolvable (0.980 times, 0.941 to "
        "1.019, modelled); making it included, 1.30 times less over 1 000 000 requests (1.25 to 1.35), accuracy"
    )


def test_the_others_are_named_where_they_disappoint_or_do_as_well() -> None:
    found = said(
        BASELINE,
        recipe("int4"),
        recipe("int4-mixed", times_less=around(9.0)),
        recipe("int8", times_less=around(6.0)),
        recipe("sparse", **OPEN),
        recipe("large", **LOSS),
        recipe("distilled", times_less=around(1.2), total_energy_per_request_J=around(0.6)),
        recipe("pruned", qualifies="not resolvable"),
        recipe("bf16", **NO_ENERGY),
        recipe("early", quality=None, qualifies="not resolvable"),
        losses=["large", "distilled"],
    )
    assert found["others"] == [
        "int4-mixed does as well, as far as can be resolved: 9.00 times less (8.64 to 9.36).",
        "sparse saves nothing that could be resolved: it takes 1.02 times the energy of baseline (0.98 to 1.06).",
        "large is a loss: it takes 1.25 times the energy of baseline (1.20 to 1.30).",
        "distilled is a loss: making it included, a request takes 600 mJ (576 to 624) against 456 mJ (438 to 474).",
        "pruned takes 9.10 times less (8.74 to 9.46), but whether it is good enough is not resolvable: accuracy 0.897 "
        "(0.880 to 0.910).",
        "bf16: its energy against baseline's is unknown (no sensor can be read).",
        "early takes 9.10 times less (8.74 to 9.46), but was not evaluated.",
    ]


def test_a_baseline_that_is_not_good_enough_is_named() -> None:
    found = said(recipe("baseline", qualifies="no"), recipe("int4"))
    assert found["others"] == ["baseline itself is not good enough: accuracy 0.897 (0.880 to 0.910)."]


def test_an_unmeasured_baseline_leaves_the_saving_unknown() -> None:
    found = said(recipe("baseline", **NO_ENERGY), recipe("int4", times_less=None, verdict="unknown"))
    assert found["sentence"].startswith(
        "deploy int4. A request takes 50 mJ (35 to 65, modelled); the energy it takes with baseline is unknown "
        "(no sensor can be read), accuracy 0.897"
    )


def test_a_ratio_that_may_be_nothing_has_no_upper_bound_turned_round() -> None:
    factor = {"value": 0.8, "low": 0.0, "high": 2.0}
    found = said(BASELINE, recipe("int4"), recipe("sparse", times_less=factor, verdict="not resolvable"))
    assert found["others"] == [
        "sparse saves nothing that could be resolved: it takes 1.25 times the energy of baseline (at least 0.500)."
    ]


def test_energies_that_are_known_but_can_not_be_compared_say_why() -> None:
    found = said(BASELINE, recipe("int4", times_less=None, verdict="unknown"))
    assert "how much less than with baseline is unknown (no seed of both was measured" in found["sentence"]
    found = said(BASELINE, recipe("int4"), recipe("int8", times_less=None, verdict="unknown"))
    assert found["others"][0].startswith("int8: its energy against baseline's is unknown (no seed of both")


def test_a_difference_in_token_f1_is_told_in_points() -> None:
    difference = {"metric": "f1", "value": -0.003, "low": -0.007, "high": 0.001, "resolved": False}
    quality = {"metric": "f1", "value": 0.897, "low": 0.88, "high": 0.91}
    found = said(recipe("baseline", quality=quality), recipe("int4", quality=quality, quality_difference=difference))
    assert "token F1 0.897 against 0.897 (−0.7 to +0.1 points)" in found["sentence"]


@pytest.mark.parametrize(
    ("requests", "ending"),
    [
        ((0.2, 0.1, 0.6), "what it cost to make is paid back by the first request."),
        ((0.7, 0.2, 3.1), "what it cost to make is paid back after 1 request (1 to 4)."),
        ((0.0, 0.0, 0.3), "what it cost to make is paid back by the first request."),
        ((0.0, 0.0, 0.0), "it cost no more to make."),
    ],
)
def test_nothing_is_paid_back_after_no_request(requests: tuple[float, float, float], ending: str) -> None:
    given = dict(zip(("value", "low", "high"), requests, strict=True))
    assert said(BASELINE, recipe("int4"), break_even_requests=given)["sentence"].endswith(ending)


def test_zero_has_no_sign_and_nearly_sure_is_not_sure() -> None:
    difference = {"metric": "accuracy", "value": 0.0, "low": -0.00004, "high": 0.02, "resolved": False}
    found = said(BASELINE, recipe("int4", quality_difference=difference), confidence=0.9999)
    assert "(0.0 to +2.0 points)" in found["sentence"]
    assert "99.99 % sure" in found["note"]
