import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicted import predicted
from simulated_study import MODELLED, UNKNOWN, Simulation, config, whole_study

from greenllm.account.account import account
from greenllm.account.efficiency import efficiency_index, units_of_work
from greenllm.attribution import attribute
from greenllm.comparison.quality import paired_difference, quality
from greenllm.comparison.quantity import verdict, widened
from greenllm.config.models import Site
from greenllm.documents.prediction import Prediction
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.footprint.carbon import carbon_g, grid_factor
from greenllm.footprint.factor_tables import COLUMNS
from greenllm.footprint.grid_carbon import grid_carbon
from greenllm.footprint.power_over_time import PowerCourse, series
from greenllm.study.results import read_study
from greenllm.tasks import TASKS


def accounted(study: Simulation) -> dict[str, Any]:
    """Return the account of a simulated study, as it is read back from JSON."""
    found = account(read_study(study.config, study.results), attribute(study.results / "ledger"), {})
    return json.loads(json.dumps(found.to_json(), allow_nan=False))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return accounted(whole_study(tmp_path_factory.mktemp("study")))


def row(found: dict[str, Any], experiment: str, recipe: str) -> dict[str, Any]:
    rows = found["experiments"][experiment]["comparison"]["recipes"]
    return next(row for row in rows if row["recipe"] == recipe)


def model(found: dict[str, Any], experiment: str, recipe: str) -> dict[str, Any]:
    return next(m for m in found["models"] if (m["experiment"], m["recipe"]) == (experiment, recipe))


# --- E = C/R ---


def test_the_articles_worked_example() -> None:
    assert efficiency_index(Interval(100, 90, 110), 1000) == (0.1, 0.09, 0.11)
    assert efficiency_index(Interval(50, 50, 50), 1000) == (0.05, 0.05, 0.05)


def test_no_work_of_a_unit_is_no_index() -> None:
    assert efficiency_index(Interval(100, 90, 110), 0) is None
    assert efficiency_index(Interval(100, 90, 110), None) is None
    assert efficiency_index(None, 1000) is None
    units = units_of_work({"tokens": 10, "samples": 0, "flops": 5e8})
    assert units == {"sample": None, "token": 10, "request": None, "1e8_flops": 5}


def test_a_stages_index_is_its_energy_over_its_work(study: dict[str, Any]) -> None:
    train = next(r for r in study["efficiency"] if (r["experiment"], r["stage"]) == ("dates", "train"))
    # 90 s on two idle cores of 2 W and 8 GiB of 0.3 W, 1.9 of them busy at 5 W each
    energy_J = 90 * (2 * 2 + 8 * 0.3) + 90 * 1.9 * 5
    assert train["energy_J"]["value"] == pytest.approx(energy_J, rel=1e-6)
    assert train["J_per_sample"]["value"] == pytest.approx(energy_J / 80000, rel=1e-6)
    assert train["J_per_token"]["value"] == pytest.approx(energy_J / 2.4e6, rel=1e-6)
    assert train["J_per_1e8_flops"]["value"] == pytest.approx(energy_J / 1.9e5, rel=1e-6)
    assert train["J_per_request"] is None
    assert train["quality"] == "modelled"


def test_the_server_alone_pays_for_a_request(study: dict[str, Any]) -> None:
    window = next(r for r in study["efficiency"] if r["scope"] == "server, measurement window")
    serving = model(study, "support", "baseline")["serving"]
    assert window["J_per_request"] == pytest.approx(serving["energy_per_request_J"])
    assert window["J_per_token"]["value"] == pytest.approx(window["J_per_request"]["value"] / 4)
    whole = 27 * (2 * 2 + 8 * 0.3 + 1.6 * 5)  # what the host used in the window, with load generator and the rest
    assert 0 < serving["energy_J"]["value"] < whole


# --- every joule once ---


def test_views_of_the_same_joules_agree(study: dict[str, Any]) -> None:
    total = study["spent"]["total"]["energy_J"]["value"]
    assert total == pytest.approx(sum(job["energy_J"]["value"] for job in study["jobs"]))
    assert total == pytest.approx(sum(run["energy_J"]["value"] for run in study["spent"]["runs"]))
    assert total == pytest.approx(sum(stage["energy_J"]["value"] for stage in study["spent"]["stages"]))
    counted = [device for host in study["hosts"] for device in host["devices"]]
    assert total == pytest.approx(sum(device["jobs_J"] for device in counted))
    impact = {(r["experiment"], r["recipe"], r["stage"]): r["energy_J"]["value"] for r in study["impact"]}
    assert impact["all", "all", "all"] == pytest.approx(total)
    assert sum(value for key, value in impact.items() if key[2] != "all") == pytest.approx(total)
    assert impact["support", "all", "all"] + impact["dates", "all", "all"] == pytest.approx(total)


def test_power_over_time_holds_the_same_energy(study: dict[str, Any]) -> None:
    area = sum(
        watts * segment["width_s"]
        for host in study["power"]
        for segment in host["segments"]
        for stages in segment["components"].values()
        for values in stages.values()
        for watts in values
    )
    assert area == pytest.approx(study["spent"]["total"]["energy_J"]["value"], rel=1e-3)
    assert len(study["power"][0]["segments"]) == 2, "the hour between the runs is cut out"


@given(
    st.lists(
        st.tuples(st.floats(0, 5000), st.floats(0.01, 100), st.sampled_from("ab"), st.floats(0, 500)),
        min_size=1,
        max_size=20,
    )
)
def test_binning_power_loses_no_energy(pieces: list[tuple[float, float, str, float]]) -> None:
    courses = [
        PowerCourse(stage, "cpu", np.array([start]), np.array([start + length]), np.array([watts]))
        for start, length, stage, watts in pieces
    ]
    found = series(courses, bins=50)
    area = sum(
        watts * segment.width_s
        for segment in found
        for values in segment.components["cpu"].values()
        for watts in values
    )
    assert area == pytest.approx(sum(length * watts for _, length, _, watts in pieces), rel=1e-3, abs=1e-3)


def test_cost_to_produce_counts_each_ancestor_once(study: dict[str, Any]) -> None:
    baseline, int8 = (model(study, "dates", recipe)["cost_to_produce"] for recipe in ("baseline", "int8"))
    assert [step["rule"] for step in int8["steps"]] == ["collect", "preprocess", "train", "compress"]
    compress = int8["steps"][-1]["energy_J"]["value"]
    assert int8["energy_J"]["value"] == pytest.approx(baseline["energy_J"]["value"] + compress)


def test_a_resumed_training_costs_its_killed_attempt_too(study: dict[str, Any]) -> None:
    train = next(s for s in model(study, "support", "baseline")["cost_to_produce"]["steps"] if s["rule"] == "train")
    assert len(train["ids"]) == 2
    both = sum(job["energy_J"]["value"] for job in study["jobs"] if job["id"] in train["ids"])
    assert train["energy_J"]["value"] == pytest.approx(both)
    assert study["spent"]["waste"]["killed"]["attempts"] == 1
    assert study["spent"]["total"]["waste_J"]["value"] == pytest.approx(20 * (6.4 + 9.5), rel=0.02)


def test_a_superseded_attempt_is_spent_but_produces_nothing(tmp_path: Path) -> None:
    study = whole_study(tmp_path)
    before = accounted(study)
    study.run_id = "run-3"
    study.evaluate("dates", "int8", 1, 0.62)
    study.train("dates", "baseline", 1, 90)
    after = accounted(study)
    assert after["spent"]["waste"]["superseded"]["attempts"] == 2
    assert after["spent"]["total"]["energy_J"]["value"] > before["spent"]["total"]["energy_J"]["value"] + 1000
    for recipe in ("baseline", "int8"):
        was, now = (model(found, "dates", recipe)["cost_to_produce"]["energy_J"] for found in (before, after))
        assert now["value"] == pytest.approx(was["value"], rel=1e-6)


# --- comparing ---


def test_shared_parameters_cancel_in_the_ratio(study: dict[str, Any]) -> None:
    int8, baseline = row(study, "support", "int8"), row(study, "support", "baseline")
    factor = int8["times_less"]
    assert factor["value"] == pytest.approx(
        baseline["energy_per_request_J"]["value"] / int8["energy_per_request_J"]["value"], rel=1e-4
    )  # the mean of the blocks' ratios, of the logarithms
    naive = baseline["energy_per_request_J"]["high"] / int8["energy_per_request_J"]["low"]
    assert factor["high"] < factor["value"] + (naive - factor["value"]) / 4
    assert int8["verdict"] == "saves"
    assert baseline["verdict"] == "baseline"


def test_a_recipe_that_costs_more_is_a_loss(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.prepare("support")
    study.train("support", "baseline", 1, 60)
    study.compress("support", "int8", 1)
    study.measure("support", 1, {"baseline": 10, "int8": 14})
    found = row(accounted(study), "support", "int8")
    assert found["verdict"] == "loss"
    assert found["times_less"]["high"] < 1
    assert found["break_even_requests"] == "never"


def test_seeds_that_disagree_leave_a_difference_unresolved(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(seeds=[1, 2, 3]))
    for seed, (slow, fast) in enumerate(((10, 8), (8, 11), (11, 9)), start=1):
        study.measure("support", seed, {"baseline": slow, "int8": fast})
    found = row(accounted(study), "support", "int8")
    assert found["seeds_measured"] == [1, 2, 3]
    assert found["times_less"]["low"] < 1 < found["times_less"]["high"]
    assert found["verdict"] == "not resolvable"


def test_sensor_and_spread_add_as_squares_of_logarithms() -> None:
    sensor = Interval(2.0, 1.6, 2.5)
    assert widened(sensor, 0.0) == sensor
    wide = widened(sensor, 0.3)
    assert wide.high == pytest.approx(2 * math.exp(math.hypot(math.log(1.25), 0.3)))
    assert wide.low == pytest.approx(2 / math.exp(math.hypot(math.log(1.25), 0.3)))


def test_break_even_is_extra_cost_over_saving(study: dict[str, Any]) -> None:
    int8, baseline = row(study, "dates", "int8"), row(study, "dates", "baseline")
    extra = int8["cost_to_produce_J"]["value"] - baseline["cost_to_produce_J"]["value"]
    saving = baseline["energy_per_request_J"]["value"] - int8["energy_per_request_J"]["value"]
    assert int8["break_even_requests"]["value"] == pytest.approx(extra / saving)
    assert int8["break_even_requests"]["low"] < extra / saving < int8["break_even_requests"]["high"]


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1.1, 2, "saves"), (0.9, 1.2, "not resolvable"), (0.5, 0.9, "loss")]
)
def test_the_verdict_depends_on_the_interval(low: float, high: float, expected: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high)) == expected
    assert verdict(None) == "unknown"


def answers(right: list[bool]) -> list[Prediction]:
    return [predicted("yes", "yes" if ok else "no", id=str(i)) for i, ok in enumerate(right)]


def test_pairing_resolves_what_two_intervals_would_not() -> None:
    task = TASKS["translation"]
    baseline = answers([i % 2 == 0 for i in range(400)])
    worse = answers([i % 2 == 0 and i >= 24 for i in range(400)])
    found = paired_difference(task, "exact_match", [baseline], [worse])
    assert found is not None
    assert found.value == pytest.approx(-12 / 400)
    assert found.high(0.975) < 0, "12 answers of 400 were lost and none won"
    assert found.low(0.975) > -0.06
    same = paired_difference(task, "exact_match", [baseline], [baseline])
    assert same is not None
    assert (same.value, same.p_value) == (0, 1)
    assert paired_difference(task, "exact_match", [baseline], [[]]) is None


@pytest.mark.parametrize("count", [30, 300])
def test_errors_that_no_example_shows_are_within_the_bounds(count: int) -> None:
    """If all of `count` answers agree, up to 3 / count of others may not (95 %, one-sided: rule of three)."""
    same = [answers([True] * count)] * 2
    found = paired_difference(TASKS["translation"], "exact_match", *([side] for side in same))
    alone = quality(TASKS["translation"], "exact_match", [same[0]])
    assert found is not None
    assert alone is not None
    assert 1.5 / count < -found.low(0.95) < 4.5 / count
    assert 1.5 / count < 1 - alone.low(0.95) < 4.5 / count


def test_answers_that_are_right_in_part_and_agree_differ_by_more_than_nothing() -> None:
    same = [predicted("a b c d", "a b c d" if index % 3 else "a b c", id=str(index)) for index in range(30)]
    found = paired_difference(TASKS["chat"], "squad_f1", [same], [same])
    assert found is not None
    assert found.value == 0
    assert 1.5 / 30 < -found.low(0.95) < 4.5 / 30


def test_answers_may_hold_any_line_separator(study: dict[str, Any], tmp_path: Path) -> None:
    other = whole_study(tmp_path)
    for path in tmp_path.rglob("*.predictions.jsonl"):
        rows = [json.loads(line) | {"prompt": "\u2028\u2029\x85 \r\n"} for line in path.read_text().split("\n") if line]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_bytes("".join(lines).encode())
    assert row(accounted(other), "dates", "int8")["quality"] == row(study, "dates", "int8")["quality"]


def test_quality_difference_is_that_of_the_evaluations(study: dict[str, Any]) -> None:
    int8, baseline = row(study, "dates", "int8"), row(study, "dates", "baseline")
    difference = int8["quality_difference"]
    assert difference["value"] == pytest.approx(int8["quality"]["value"] - baseline["quality"]["value"])
    assert difference["resolved"]
    assert not row(study, "support", "int8")["quality_difference"]["resolved"]


def test_kinds_of_example_and_handed_over_answers_are_means_over_seeds(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(["baseline"], [1, 2]))
    for seed, share in ((1, 0.4), (2, 0.8)):
        study.evaluate("support", "baseline", seed, 0.9)
        path = tmp_path / f"evaluations/support/baseline/seed-{seed}.json"
        interval = {"value": share, "low": share - 0.1, "high": share + 0.1}
        one = {"examples": 100 * seed, "metrics": {"accuracy": interval}}
        parts = {"subsets": {"short": one}, "hand_over": {"threshold": 0.5, "coverage": interval} | one}
        path.write_text(json.dumps(json.loads(path.read_text()) | parts))
    found = row(accounted(study), "support", "baseline")
    mean = {bound: pytest.approx(value) for bound, value in {"value": 0.6, "low": 0.5, "high": 0.7}.items()}
    assert found["subsets"] == {"short": {"accuracy": mean, "examples": 150}}
    assert found["hand_over"] == {
        "threshold": 0.5, "coverage": mean, "examples": 150, "metrics": {"accuracy": mean},
    }  # fmt: skip


# --- what is not known ---


def test_without_a_sensor_energy_is_null_with_a_reason(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(), sensors=[UNKNOWN])
    study.prepare("support")
    study.evaluate("support", "baseline", 1, 0.9)
    study.measure("support", 1, {"baseline": 5})
    found = accounted(study)
    assert found["spent"]["total"]["energy_J"] is None
    assert found["spent"]["total"]["carbon_g"] is None
    serving = model(found, "support", "baseline")["serving"]
    assert serving["energy_per_request_J"] is None
    assert "only be read by root" in serving["reason"]
    assert all(r["J_per_request"] is None for r in found["efficiency"])


def test_half_an_energy_is_not_compared(tmp_path: Path) -> None:
    study = whole_study(tmp_path)
    study.sensors = [UNKNOWN, MODELLED[1]]  # the memory is modelled, and nothing known of the processor
    study.measure("dates", 1, {"baseline": 40, "int8": 7})
    found = accounted(study)
    assert row(found, "dates", "int8")["verdict"] == "unknown"
    assert row(found, "dates", "int8")["energy_per_request_J"] is None
    assert "cpu: energy_uj" in row(found, "dates", "int8")["reason"]


def test_a_model_whose_trainings_processor_is_unknown_has_no_energy_in_all(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(["baseline", "long"], decision={"requests": 1000}))
    study.prepare("support")
    for recipe, sensors in (("baseline", MODELLED), ("long", [UNKNOWN, MODELLED[1]])):
        study.sensors = list(sensors)
        study.train("support", recipe, 1)
        study.sensors = list(MODELLED)
        study.evaluate("support", recipe, 1, 0.9)
    study.measure("support", 1, {"baseline": 20, "long": 10})
    found = accounted(study)
    assert row(found, "support", "baseline")["total_energy_per_request_J"] is not None
    assert row(found, "support", "long")["total_energy_per_request_J"] is None
    assert row(found, "support", "long")["break_even_requests"] is None
    (missing,) = model(found, "support", "long")["cost_to_produce"]["missing"]
    assert missing.startswith("train long: cpu: energy_uj")
    trained = [one for one in found["efficiency"] if one["stage"] == "train"]
    assert [one["J_per_sample"] is None for one in trained] == [False, True]


def test_a_model_that_replaces_an_unreadable_sensor_leaves_no_gap(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(), sensors=[UNKNOWN, *MODELLED])
    study.measure("support", 1, {"baseline": 9, "int8": 3})
    found = accounted(study)
    assert row(found, "support", "int8")["verdict"] == "saves"
    assert all(job["unknown"] == [] for job in found["jobs"])


def test_no_waste_is_zero_and_waste_of_unknown_energy_is_null(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(), sensors=[UNKNOWN])
    study.train("support", "baseline", 1)
    assert accounted(study)["spent"]["total"]["waste_J"] == {"value": 0, "low": 0, "high": 0}
    study.measure("support", 1, {"baseline": 5}, status="failed")
    found = accounted(study)
    assert found["spent"]["total"]["waste_J"] is None
    assert found["spent"]["waste"]["failed"]["energy_J"] is None


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.evaluate("support", "baseline", 1, 0.9)
    study.measure("support", 1, {"baseline": 5}, status="failed")
    found = accounted(study)
    missing = {(m["experiment"], m["recipe"], m["stage"]): m["reason"] for m in found["missing"]}
    assert missing["support", "baseline", "measure"] == "failed in attempt 1 (exit status 1)"
    assert missing["support", "int8", "evaluate"] == "not run yet"
    assert ("support", "baseline", "evaluate") not in missing
    assert row(found, "support", "int8")["verdict"] == "unknown"
    # the server and the load generator of a failed measurement are wasted, too
    assert found["spent"]["waste"]["failed"]["attempts"] == 3
    int8 = model(found, "support", "int8")["cost_to_produce"]
    assert int8["missing"] == ["compress int8: no attempt in the ledgers succeeded"]


def test_a_measured_component_is_labelled_so(tmp_path: Path) -> None:
    found = accounted(whole_study(tmp_path, measured=True))
    methods = {r["component"]: (r["method"], r["quality"]) for r in found["methods"]}
    assert methods == {"cpu": ("rapl", "measured"), "dram": ("dram-model", "modelled")}
    assert {job["quality"] for job in found["jobs"]} == {"partly modelled"}


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    study = whole_study(tmp_path)
    path = tmp_path / "evaluations/dates/int8/seed-1.json"
    path.write_text("{")
    with pytest.raises(UserError, match=r"seed-1\.json: expected a JSON object"):
        accounted(study)


# --- carbon ---


def table() -> dict[str, dict[str, Any]]:
    import importlib.metadata

    path = importlib.metadata.distribution("codecarbon").locate_file(
        "codecarbon/data/private_infra/global_energy_mix.json"
    )
    found: dict[str, dict[str, Any]] = json.loads(Path(str(path)).read_text())
    return found


def test_world_is_weighted_by_generation() -> None:
    factor = grid_factor(Site(country="WORLD"), 2026)
    assert factor is not None
    rows = [
        (found.value, row["total_TWh"])
        for code, row in table().items()
        if (found := grid_carbon(code, 2026)) is not None
    ]
    total = sum(weight for _, weight in rows)
    assert factor.value == pytest.approx(sum(value * weight for value, weight in rows) / total, rel=1e-4)
    assert factor.low is not None
    assert factor.high is not None
    below = sum(weight for value, weight in rows if value < factor.low)
    above = sum(weight for value, weight in rows if value > factor.high)
    assert below / total <= 0.025
    assert above / total <= 0.025
    assert 1 - (below + above) / total > 0.9
    assert factor.year == 2025
    assert not factor.outdated
    assert factor.years is not None
    assert factor.years[0] < 2024 < factor.years[1]
    assert "CC BY 4.0" in (factor.licence or "")


def test_a_countrys_factor_is_the_tables() -> None:
    factor = grid_factor(Site(country="DEU"), 2023)
    assert factor is not None
    assert (factor.value, factor.year) == (table()["DEU"]["carbon_intensity"], table()["DEU"]["year"])
    assert factor.low is None
    assert "no bounds" in factor.interval
    assert not factor.outdated
    recent = grid_factor(Site(country="DEU"), 2026)
    assert recent is not None
    assert (recent.place, recent.year, recent.outdated) == ("Germany (DEU)", 2025, False)
    assert recent.low is not None
    late = grid_factor(Site(country="DEU"), 2030)
    assert late is not None
    assert late.outdated


def test_reading_factors_does_not_load_the_tracker() -> None:
    code = (
        "import sys; from greenllm.footprint.carbon import grid_factor; from greenllm.config.models import Site;"
        "grid_factor(Site(), 2026); print('codecarbon' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_an_own_factor_needs_its_source() -> None:
    site = Site(country=None, carbon_g_per_kWh=30.0, carbon_source="the supplier's disclosure", carbon_year=2025)
    factor = grid_factor(site, 2026)
    assert factor is not None
    assert (factor.value, factor.year, factor.outdated) == (30.0, 2025, False)
    with pytest.raises(UserError, match="carbon_source belong together"):
        grid_factor(Site(carbon_g_per_kWh=30.0), 2026)


def test_an_own_factor_is_not_that_of_the_world(tmp_path: Path) -> None:
    own: dict[str, Any] = {"carbon_g_per_kWh": 400, "carbon_source": "our supplier", "carbon_year": 2026}
    study = Simulation(tmp_path, config(site=own))
    study.prepare("support")
    grid = accounted(study)["grid"]
    assert (grid["place"], grid["year"], grid["years"]) == ("own factor", 2026, [2026, 2026])
    factor = grid_factor(Site(country="DEU", **own), 2026)
    assert factor is not None
    assert (factor.place, factor.years) == ("Germany (DEU)", (2026, 2026))
    row = ["grid carbon", "WORLD", "400", "300", "500", "ours", "gCO2e/kWh", "2025", "ours", "", "2026-11-29", ""]
    path = tmp_path / "own.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(row) + "\n")
    factor = grid_factor(Site(factor_tables=[str(path)]), 2026)
    assert factor is not None
    assert (factor.place, factor.years) == ("WORLD", (2025, 2025))


def test_a_factor_of_zero_is_an_unknown() -> None:
    assert table()["CAF"]["carbon_intensity"] == 0
    factor = grid_factor(Site(country="CAF"), 2026)
    assert factor is not None
    assert (factor.year, factor.outdated) == (2012, True)
    with pytest.raises(UserError, match="has no grid factor"):
        grid_factor(Site(country="DEX"), 2026)


def test_one_kilowatt_hour_is_the_factor() -> None:
    factor = grid_factor(Site(country="WORLD"), 2026)
    assert factor is not None
    assert factor.low is not None
    kWh = Interval(3.6e6, 1.8e6, 7.2e6)
    found = carbon_g(kWh, factor)
    assert found is not None
    assert found.value == pytest.approx(factor.value)
    assert found.low == pytest.approx(factor.low / 2)
    site = carbon_g(kWh, factor, pue=1.5)
    assert site is not None
    assert site.value == pytest.approx(1.5 * factor.value)
    assert carbon_g(kWh, None) is None
    assert carbon_g(None, factor) is None


def test_without_a_country_carbon_is_null_with_a_reason(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(site={"country": None, "pue": 1.2}))
    study.prepare("support")
    found = accounted(study)
    assert found["spent"]["total"]["carbon_g"] is None
    assert "site.country is null" in found["grid_reason"]


def test_the_sites_carbon_is_reported_apart(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(site={"country": "FRA", "pue": 1.5}))
    study.prepare("support")
    total = accounted(study)["spent"]["total"]
    assert total["carbon_site_g"]["value"] == pytest.approx(1.5 * total["carbon_g"]["value"])
    assert total["carbon_site_g"]["low"] == pytest.approx(1.5 * total["carbon_g"]["low"])


def test_an_own_factor_without_bounds_is_taken_as_exact(tmp_path: Path) -> None:
    site = {"carbon_g_per_kWh": 30, "carbon_source": "the supplier's disclosure", "carbon_year": 2026}
    study = Simulation(tmp_path, config(site=site))
    study.prepare("support")
    account = accounted(study)
    total = account["spent"]["total"]
    for bound in ("value", "low", "high"):
        assert total["carbon_g"][bound] == pytest.approx(total["energy_J"][bound] / 3.6e6 * 30)
    assert "taken as exact" in account["grid"]["interval"]
