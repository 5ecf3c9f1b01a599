"""The report's first lines: what to deploy, in words, and how sure that is."""

from dataclasses import asdict
from typing import Any

import pytest

from greenllm.account.document import ExperimentAccount
from greenllm.comparison.rows import Advice, ComparedRecipes, Difference, Factor, Quality, RecipeRow, Twin
from greenllm.estimate import Interval
from greenllm.report.findings import findings

NARROW = 0.04  # half-width of ratios, as a share


def around(value: float, share: float = NARROW) -> Interval:
    return Interval(value, value * (1 - share), value * (1 + share))


def scored(value: float, low: float, high: float, metric: str = "accuracy") -> Quality:
    return Quality(metric=metric, value=value, low=low, high=high, examples=1000)


def differs(value: float, low: float, high: float, metric: str = "accuracy") -> Difference:
    resolved = low > 0 or high < 0
    method, test = "paired bootstrap", "paired permutation test"
    return Difference(
        metric=metric, value=value, low=low, high=high, resolved=resolved, p_value=0.1, method=method, test=test
    )


def recipe(name: str, **changes: Any) -> RecipeRow:
    """Return a compared recipe of accuracy 0.9 that takes 50 mJ a request, 9.1 times less than baseline."""
    row = RecipeRow(
        recipe=name, is_baseline=False, seeds_measured=[1], engine="torch", precision="int4", parameters=1e6,
        model_bytes=1e6, memory_bytes=1e8, memory_reason=None, flops_per_token=2e6,
        quality=scored(0.897, 0.88, 0.91), quality_difference=differs(-0.003, -0.007, 0.001), qualifies="yes",
        subsets={}, hand_over=None, verdict="saves", times_less=around(9.1), energy_quality="modelled",
        energy_per_request_J=around(0.05, 0.3), total_energy_per_request_J=around(0.051, 0.3),
        energy_per_token_J=around(0.005, 0.3), energy_spread=None, curve=[], idle_power_W=None,
        accelerator_Wh_per_1000_requests=None, latency_p50_s=0.1, latency_p95_s=0.2, requests_per_s=10.0,
        cost_to_produce_J=None, break_even_requests=None, reason=None, on_front=True,
    )  # fmt: skip
    if name == "baseline":
        as_baseline = {
            "is_baseline": True,
            "verdict": "baseline",
            "times_less": None,
            "quality_difference": None,
            "energy_per_request_J": around(0.455),
            "total_energy_per_request_J": around(0.456),
        }
        row = RecipeRow(**vars(row) | as_baseline)
    return RecipeRow(**vars(row) | changes)


LOSS: dict[str, Any] = {"times_less": around(0.8), "verdict": "loss"}
OPEN: dict[str, Any] = {"times_less": around(0.98), "verdict": "not resolvable"}
NO_ENERGY: dict[str, Any] = {
    "energy_per_request_J": None, "times_less": None, "verdict": "unknown", "reason": "no sensor can be read",
}  # fmt: skip


def said(
    *rows: RecipeRow, higher_is_better: bool = True, compared: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Return the finding of an experiment with these recipes; int4 is recommended, but for `changes` of the advice.

    `compared`: further fields of the comparison.
    """
    primary = rows[0].quality.metric if rows[0].quality else "accuracy"
    advice = Advice(
        recipe="int4", baseline="baseline", reason=None, requests=1_000_000, confidence=0.95, quality_bound=0.89,
        times_less=None, total_times_less=None, quality_difference=None, front=[], losses=[],
        break_even_requests=Interval(1213.0, 904.0, 1687.0),
    )  # fmt: skip
    experiment = ExperimentAccount(
        task="customer_service", metrics={primary: ""}, primary=primary, higher_is_better=higher_is_better,
        card=None, preparation=None, recommendation=Advice(**vars(advice) | changes),
        comparison=ComparedRecipes(**{"baseline": "baseline", "seeds": [1], "recipes": list(rows)} | (compared or {})),
    )  # fmt: skip
    (found,) = findings({"support": experiment})
    for text in (found.sentence, *found.others, found.note):
        assert "None" not in text
        assert "nan" not in text
    plain = {name: value.replace("\u202f", " ") for name, value in asdict(found).items() if isinstance(value, str)}
    return asdict(found) | plain | {"others": [other.replace("\u202f", " ") for other in found.others]}


BASELINE = recipe("baseline")


def test_the_first_line_can_be_acted_on() -> None:
    found = said(BASELINE, recipe("int4"))
    assert found["sentence"] == (
        "deploy int4. A request takes 9.1 times less energy than with baseline (8.7 to 9.5, modelled), accuracy "
        "0.897 against 0.897 (−0.7 to +0.1 points); the energy to make it is paid back after 1 200 requests "
        "(900 to 1 700)."
    )
    assert (found["experiment"], found["recipe"], found["verdict"]) == ("support", "int4", "saves")
    assert found["note"] == "Needed: accuracy of at least 0.890, with 95 % confidence. Expected requests: 1 000 000."
    assert found["others"] == []


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (Interval(0.0, 0.0, 0.0), "; making it took no more energy."),
        ("never", "; the energy to make it is never paid back."),
        (None, "; when the energy to make it is paid back is unknown."),
        (
            Interval(0.0, 0.0, 310.0),
            "; making it took hardly more energy, if any: paid back after at most 310 requests.",
        ),
    ],
)
def test_when_it_is_paid_back(requests: Any, words: str) -> None:
    assert said(BASELINE, recipe("int4"), break_even_requests=requests)["sentence"].endswith(words)


def test_the_same_answers_are_called_the_same() -> None:
    same = differs(0.0, 0.0, 0.0)
    sentence = said(BASELINE, recipe("int4", quality_difference=same))["sentence"]
    assert ", accuracy 0.897, as with baseline on every example;" in sentence


@pytest.mark.parametrize(
    ("metric", "bounds", "words"),
    [
        ("bits_per_byte", (0.0003, 0.00012, 0.00044), "+0.0001 to +0.0004"),
        ("bits_per_byte", (-0.000008, -0.000031, 0.000015), "less than 0.0001 either way"),
        ("bits_per_byte", (0.0123, 0.00812, 0.01641), "+0.008 to +0.016"),
        ("bits_per_byte", (0.5, 0.3, 0.7), "+0.3 to +0.7"),
        ("accuracy", (-0.1027, -0.1234, -0.0821), "−12 to −8 points"),
        ("accuracy", (0.00001, -0.00004, 0.00007), "less than 0.01 points either way"),
        ("chrf", (0.21, -0.12, 0.54), "−0.1 to +0.5 points"),
    ],
)
def test_a_difference_has_the_digits_that_it_deserves(
    metric: str, bounds: tuple[float, float, float], words: str
) -> None:
    quality = scored(2.39, 2.36, 2.42, metric)
    rows = [recipe(name, quality=quality, quality_difference=differs(*bounds, metric)) for name in ("baseline", "int4")]
    assert f" 2.39 against 2.39 ({words});" in said(*rows)["sentence"]


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (Interval(1.042, 1.0021, 1.0823), "1.042 times less energy than with baseline (1.002 to 1.082, modelled)"),
        (Interval(12.4, 11.1, 13.1), "12.4 times less energy than with baseline (11.1 to 13.1, modelled)"),
        (Interval(6.34, 5.93, 6.71), "6.3 times less energy than with baseline (5.9 to 6.7, modelled)"),
        (Interval(134.0, 61.0, 203.0), "130 times less energy than with baseline (60 to 200, modelled)"),
    ],
)
def test_a_ratio_has_the_digits_that_it_deserves_and_no_bound_becomes_one(factor: Interval, words: str) -> None:
    assert words in said(BASELINE, recipe("int4", times_less=factor))["sentence"]


def test_less_is_better_is_said_of_bits_per_byte() -> None:
    quality = scored(2.21, 2.19, 2.23, "bits_per_byte")
    difference = differs(0.012, 0.008, 0.016, "bits_per_byte")
    rows = [recipe(name, quality=quality, quality_difference=difference) for name in ("baseline", "int4")]
    found = said(*rows, higher_is_better=False, quality_bound=2.25)
    assert ", bits per byte 2.21 against 2.21 (+0.008 to +0.016);" in found["sentence"]
    assert found["note"].startswith("Needed: bits per byte of at most 2.25, with 95 % confidence.")


@pytest.mark.parametrize(
    ("bound", "higher", "shown"),
    [
        (0.9999, True, "at least 0.9999,"),
        (0.88749, True, "at least 0.88749,"),
        (0.897 - 0.01, True, "at least 0.887,"),
        (0.8872139303 - 0.01, True, "at least 0.878,"),
        (2.1213203436, False, "at most 2.12,"),
        (2.1283203436, False, "at most 2.12,"),
    ],
)
def test_a_bound_is_not_shown_as_one_that_is_easier_to_reach(bound: float, higher: bool, shown: str) -> None:
    found = said(BASELINE, recipe("int4"), higher_is_better=higher, quality_bound=bound)
    assert shown in found["note"]


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
        "int4 takes 9.1 times less (8.7 to 9.5), but is not good enough: accuracy 0.897 (0.880 to 0.910)."
    ]


def test_baseline_is_kept_where_making_another_costs_what_it_saves() -> None:
    found = said(BASELINE, recipe("int4"), recipe="baseline", break_even_requests=None, requests=1)
    assert found["sentence"].startswith(
        "deploy baseline: no other recipe that is good enough is shown to take less energy over the expected requests, "
        "counting the energy to make it. A request takes 455 mJ"
    )
    assert found["note"].endswith("Expected requests: 1.")
    assert found["others"] == [
        "int4 takes 9.1 times less (8.7 to 9.5) per request, but is not shown to save energy when the energy "
        "to make it counts."
    ]


def test_one_recipe_alone() -> None:
    found = said(BASELINE, recipe="baseline", break_even_requests=None)
    assert found["sentence"].startswith("deploy baseline, the only recipe. A request takes 455 mJ (437 to 473, modell")


def test_nothing_is_good_enough() -> None:
    rows = [recipe("baseline", qualifies="no"), recipe("int4", qualifies="no", quality=scored(0.91, 0.90, 0.92))]
    found = said(*rows, recipe=None, quality_bound=0.95)
    assert found["sentence"] == (
        "deploy none of these: none reaches accuracy of at least 0.950. The best is int4 with accuracy 0.910 "
        "(0.900 to 0.920)."
    )
    assert (found["recipe"], found["verdict"]) == (None, "unknown")
    assert found["others"] == ["int4 takes 9.1 times less (8.7 to 9.5) than baseline."]


def test_a_recipe_that_was_not_evaluated_is_not_said_to_be_too_bad() -> None:
    rows = [recipe("baseline", qualifies="no"), recipe("int4", qualifies="not resolvable", quality=None)]
    found = said(*rows, recipe=None, quality_bound=0.95)
    assert found["sentence"] == (
        "nothing can be recommended yet: no recipe that was evaluated reaches accuracy of at least 0.950 (not "
        "evaluated: int4). The best is baseline with accuracy 0.897 (0.880 to 0.910)."
    )
    assert found["others"] == ["int4 takes 9.1 times less (8.7 to 9.5), but was not evaluated."]


def test_good_enough_or_not_cannot_be_resolved() -> None:
    found = said(recipe("baseline", qualifies="no"), recipe("int4", qualifies="not resolvable"), recipe=None)
    assert found["sentence"] == (
        "nothing can be recommended yet: whether int4 (accuracy 0.897 (0.880 to 0.910)) reaches accuracy of at least "
        "0.890 is not resolvable; more test examples may resolve it."
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


def test_a_score_below_0_is_a_score() -> None:
    """The harness turns the sign of what is better when lower, such as bits per byte."""
    bits = scored(-1.2, -1.3, -1.1)
    found = said(*(recipe(name, quality=bits) for name in ("baseline", "int4")))
    assert found["sentence"].startswith("deploy int4.")
    assert found["recipe"] == "int4"


def test_a_recipe_that_may_be_no_better_than_chance_says_so() -> None:
    poor = recipe("int8", quality=scored(0.24, 0.18, 0.3), qualifies="yes")
    found = said(BASELINE, poor, recipe="baseline", compared={"chance": 0.19})
    assert found["sentence"].startswith("deploy baseline: no other recipe is shown to be good enough.")
    (other,) = found["others"]
    assert "but is not shown to be better than a model that ignores its input: accuracy 0.24" in other


def test_a_cheap_making_can_decide_where_a_request_saves_nothing() -> None:
    found = said(BASELINE, recipe("int4", **OPEN), total_times_less=around(1.3), break_even_requests=None)
    assert found["sentence"].startswith(
        "deploy int4. Whether a request takes less energy than with baseline is not resolvable (0.98 times, 0.94 to "
        "1.02, modelled); counting the energy to make it, 1.30 times less over 1 000 000 requests (1.25 to 1.35), "
        "accuracy"
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
        "int4-mixed takes 9.0 times less (8.6 to 9.4), an interval that overlaps with that of int4.",
        "sparse shows no saving that can be resolved: it takes 1.02 times the energy of baseline (0.98 to 1.06).",
        "large is a loss: it takes 1.25 times the energy of baseline (1.20 to 1.30).",
        "distilled is a loss: counting the energy to make it, a request takes 600 mJ (576 to 624) against 456 mJ (438 "
        "to 474).",
        "pruned takes 9.1 times less (8.7 to 9.5), but whether it is good enough is not resolvable: accuracy 0.897 "
        "(0.880 to 0.910).",
        "bf16: its energy against baseline's is unknown (no sensor can be read).",
        "early takes 9.1 times less (8.7 to 9.5), but was not evaluated.",
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


def test_a_ratio_that_is_unknown_is_not_said_to_have_parts() -> None:
    mixed = Factor(change="engine and int4", before="baseline", after="int4", times_less=None, verdict="unknown")
    unmeasured = recipe("int4", times_less=None, verdict="unknown", parts=[mixed])
    found = said(recipe("baseline", **NO_ENERGY), unmeasured)
    assert "not separated" not in found["sentence"]


def test_more_energy_in_all_is_not_said_as_a_part_of_once_less() -> None:
    found = said(
        recipe("baseline", qualifies="no"),
        recipe("int4", **LOSS),
        total_times_less=Interval(0.668, 0.66, 0.676),
        break_even_requests="never",
    )
    assert (
        "; counting the energy to make it, 1.50 times the energy over 1 000 000 requests (1.48 to 1.52)"
        in found["sentence"]
    )


def test_the_inverse_of_a_ratio_that_may_be_zero_has_no_upper_bound() -> None:
    factor = Interval(0.8, 0.0, 2.0)
    found = said(BASELINE, recipe("int4"), recipe("sparse", times_less=factor, verdict="not resolvable"))
    assert found["others"] == [
        "sparse shows no saving that can be resolved: it takes 1.25 times the energy of baseline (at least 0.500)."
    ]


def test_energies_that_are_known_but_can_not_be_compared_say_why() -> None:
    found = said(BASELINE, recipe("int4", times_less=None, verdict="unknown"))
    assert "how much energy it saves against baseline is unknown (no seed was measured with both" in found["sentence"]
    found = said(BASELINE, recipe("int4"), recipe("int8", times_less=None, verdict="unknown"))
    assert found["others"][0].startswith(
        "int8: its energy against baseline's is unknown (no seed was measured with both"
    )


def test_a_difference_in_token_f1_is_in_points() -> None:
    difference = differs(-0.003, -0.007, 0.001, "f1")
    quality = scored(0.897, 0.88, 0.91, "f1")
    found = said(recipe("baseline", quality=quality), recipe("int4", quality=quality, quality_difference=difference))
    assert "token F1 0.897 against 0.897 (−0.7 to +0.1 points)" in found["sentence"]


@pytest.mark.parametrize(
    ("requests", "ending"),
    [
        ((0.2, 0.1, 0.6), "the energy to make it is paid back by the first request."),
        ((0.7, 0.2, 3.1), "the energy to make it is paid back after 1 request (1 to 4)."),
        ((0.0, 0.0, 0.3), "the energy to make it is paid back by the first request."),
        ((0.0, 0.0, 0.0), "making it took no more energy."),
    ],
)
def test_nothing_is_paid_back_after_no_request(requests: tuple[float, float, float], ending: str) -> None:
    assert said(BASELINE, recipe("int4"), break_even_requests=Interval(*requests))["sentence"].endswith(ending)


def test_zero_has_no_sign_and_nearly_sure_is_not_sure() -> None:
    difference = differs(0.0, -0.00004, 0.02)
    found = said(BASELINE, recipe("int4", quality_difference=difference), confidence=0.9999)
    assert "(0 to +2 points)" in found["sentence"]
    assert "with 99.99 % confidence" in found["note"]


# --- causes, the twin, and studies that can't compare ---


def part(change: str, value: float, low: float, high: float, verdict: Any = "saves") -> Factor:
    interval = Interval(value, low, high)
    return Factor(change=change, before="baseline", after="int4", times_less=interval, verdict=verdict)


PARTS = [part("engine", 6.3, 5.9, 6.7), part("int4", 1.02, 0.97, 1.07, "not resolvable")]


def twin(value: float, low: float, high: float, *, steady: bool = True, resolvable: float | None = 0.042) -> Twin:
    found = Interval(value, low, high)
    return Twin(
        name="baseline~twin", times_less=found, times_less_99=found, steady=steady, resolvable=resolvable, reason=None
    )


def test_the_sentence_names_the_cause() -> None:
    found = said(BASELINE, recipe("int4", times_less=Interval(6.4, 6.0, 6.8), parts=PARTS))
    assert found["sentence"].startswith(
        "deploy int4. A request takes 6.4 times less energy than with baseline (6.0 to 6.8, modelled): engine 6.3 "
        "(5.9 to 6.7), int4 1.02 (0.97 to 1.07), not resolvable. Accuracy 0.897 against 0.897"
    )


def test_the_cause_of_what_is_not_chosen_is_named() -> None:
    first_open = [part("engine", 1.02, 0.97, 1.07, "not resolvable"), part("int4", 0.8, 0.76, 0.84, "loss")]
    rows = [recipe("int8", parts=PARTS, qualifies="no"), recipe("slow", parts=first_open, **LOSS)]
    assert said(BASELINE, recipe("int4"), *rows)["others"] == [
        "int8 takes 9.1 times less (8.7 to 9.5), but is not good enough: accuracy 0.897 (0.880 to 0.910); times less "
        "by cause: engine 6.3 (5.9 to 6.7), int4 1.02 (0.97 to 1.07), not resolvable.",
        "slow is a loss: it takes 1.25 times the energy of baseline (1.20 to 1.30); times less by cause: engine 1.02 "
        "(0.97 to 1.07), not resolvable; int4 0.80 (0.76 to 0.84), a loss.",
    ]


def test_changes_that_no_control_separates_are_credited_together() -> None:
    found = said(BASELINE, recipe("int4", parts=[part("engine and int4", 9.1, 8.7, 9.5)]))
    assert "(8.7 to 9.5, modelled): engine and int4 together, not separated by a control. Accuracy" in found["sentence"]
    assert "together" not in said(BASELINE, recipe("int4", parts=[part("int4", 9.1, 8.7, 9.5)]))["sentence"]


def test_a_control_is_named_as_one() -> None:
    control = recipe("baseline-onnxruntime", is_control=True, parts=PARTS[:1])
    found = said(BASELINE, control, recipe="baseline-onnxruntime")
    assert found["sentence"].startswith("deploy baseline-onnxruntime (control: the engine alone). A request takes 9.1 ")


def test_the_twin_says_what_the_host_can_resolve() -> None:
    found = said(
        BASELINE, recipe("int4"), compared={"twin": twin(1.01, 0.97, 1.05), "starts": 4, "rounds": 3, "seeds": [1, 2]}
    )
    assert found["twin"] == (
        "The same model, deployed twice, differs by 1.01 (0.97 to 1.05). Differences below about 4 % can't be resolved "
        "on this host."
    )
    assert found["note"].endswith(
        "Measured side by side, each server started 4 times, with 3 rounds after each start, for each of 2 seeds."
    )


def test_an_unsteady_host_resolves_nothing() -> None:
    compared = {"twin": twin(1.31, 1.12, 1.52, steady=False), "steady": False}
    found = said(BASELINE, recipe("int4", **OPEN), recipe="baseline", break_even_requests=None, compared=compared)
    assert found["twin"] == (
        "The same model, deployed twice, differs by 1.31 (1.12 to 1.52): the host was not steady, so no difference is "
        "resolvable. Measure again with nothing else running on the host, or with more starts (deploy.starts)."
    )
    assert found["others"] == [
        "int4 is not resolvable: the host was not steady. Measured: 1.02 times the energy of baseline (0.98 to 1.06)."
    ]


def test_without_a_twin_it_is_unknown_what_can_be_resolved() -> None:
    assert "deployed twice (deploy.twin)" in said(BASELINE, recipe("int4"))["twin"]
    failed = Twin(
        name="baseline~twin", times_less=None, times_less_99=None, steady=True, resolvable=None, reason="server ended"
    )
    assert "is unknown (server ended)." in said(BASELINE, recipe("int4"), compared={"twin": failed})["twin"]


def test_where_quality_is_at_chance_nothing_is_recommended() -> None:
    found = said(BASELINE, recipe("int4"), recipe=None, at_chance="accuracy of every recipe is 0")
    assert found["nothing_to_compare"] == (
        "This study can't compare the recipes of support: accuracy of every recipe is 0."
    )
    assert (found["recipe"], found["sentence"], found["others"]) == (None, "nothing can be recommended.", [])
