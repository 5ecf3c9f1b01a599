import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from predicted import predicted
from simulated_study import GPU, GPU_GAIN, MODELLED, PARAMETERS, UNKNOWN, Simulation, config

from greenllm.account.account import account
from greenllm.attribution import attribute
from greenllm.cli import main
from greenllm.documents.evaluation import EvaluationReport
from greenllm.documents.prediction import TextPrediction, write_predictions
from greenllm.errors import UserError
from greenllm.study.results import read_study
from greenllm.tasks import TASKS
from greenllm.tasks.bootstrap import scores_with_intervals


def study_of(
    results: Path,
    seconds: dict[str, float],
    accuracy: dict[str, float] | None = None,
    seeds: tuple[int, ...] = (1,),
    examples: int = 1200,
    **sections: Any,
) -> Simulation:
    """Write a study of one experiment whose recipes take `seconds` for 1,000 requests, with an `accuracy` of 0.9."""
    study = Simulation(results, config(list(seconds), list(seeds), **sections))
    study.prepare("support")
    for seed in seeds:
        for recipe in seconds:
            if recipe == "int8":
                study.compress("support", recipe, seed)
            else:
                study.train("support", recipe, seed, 200 if recipe == "long" else 60)
            study.evaluate("support", recipe, seed, (accuracy or {}).get(recipe, 0.9), examples)
        study.measure("support", seed, {recipe: lasting + 0.05 * seed for recipe, lasting in seconds.items()})
    return study


def decided(study: Simulation) -> dict[str, Any]:
    found = account(read_study(study.config, study.results), attribute(study.results / "ledger"), {})
    experiment: dict[str, Any] = json.loads(json.dumps(found.to_json(), allow_nan=False))["experiments"]["support"]
    return experiment


def rows(experiment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["recipe"]: row for row in experiment["comparison"]["recipes"]}


def test_the_least_energy_at_the_quality_asked_for(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5, "long": 12})
    experiment = decided(study)
    advice, recipes = experiment["recommendation"], rows(experiment)
    assert advice["recipe"] == "int8"
    assert advice["reason"] is None
    assert advice["quality_bound"] == pytest.approx(recipes["baseline"]["quality"]["value"] - 0.01)
    assert advice["times_less"] == recipes["int8"]["times_less"]
    assert {recipe: row["qualifies"] for recipe, row in recipes.items()} == dict.fromkeys(recipes, "yes")
    assert advice["losses"] == []


def test_energy_in_all_spreads_production_over_the_requests(tmp_path: Path) -> None:
    experiment = decided(study_of(tmp_path, {"baseline": 20, "long": 12}, decision={"requests": 1000}))
    for row in rows(experiment).values():
        in_all = row["energy_per_request_J"]["value"] + row["cost_to_produce_J"]["value"] / 1000
        assert row["total_energy_per_request_J"]["value"] == pytest.approx(in_all)
    advice, long = experiment["recommendation"], rows(experiment)["long"]
    assert long["verdict"] == "saves"
    assert long["break_even_requests"]["low"] > 1000
    assert advice["recipe"] == "baseline", "1,000 requests don't pay for the longer training"
    assert advice["losses"] == ["long"]


def test_the_same_study_over_more_requests_recommends_the_longer_training(tmp_path: Path) -> None:
    experiment = decided(study_of(tmp_path, {"baseline": 20, "long": 12}, decision={"requests": 10**6}))
    advice = experiment["recommendation"]
    assert advice["recipe"] == "long"
    assert advice["break_even_requests"]["high"] < 10**6
    assert 1 < advice["total_times_less"]["value"] < advice["times_less"]["value"]


def test_a_recipe_that_costs_more_is_named_a_loss_and_never_pays_back(tmp_path: Path) -> None:
    experiment = decided(study_of(tmp_path, {"baseline": 10, "long": 14}))
    advice = experiment["recommendation"]
    assert advice["recipe"] == "baseline"
    assert advice["losses"] == ["long"]
    assert rows(experiment)["long"]["break_even_requests"] == "never"
    assert advice["times_less"] is None


def test_a_small_saving_may_pay_back_much_later(tmp_path: Path) -> None:
    recipes = rows(decided(study_of(tmp_path, {"baseline": 20, "long": 19.5})))
    baseline, long = recipes["baseline"], recipes["long"]
    assert long["verdict"] == "saves"
    extra_J = long["cost_to_produce_J"]["value"] - baseline["cost_to_produce_J"]["value"]
    least_J, most_J = (
        baseline["energy_per_request_J"]["value"] * (1 - 1 / long["times_less"][bound]) for bound in ("low", "high")
    )
    requests = long["break_even_requests"]
    assert requests["high"] > extra_J / least_J > 1.5 * requests["value"]
    assert requests["low"] < extra_J / most_J < requests["value"]


def test_what_costs_more_for_each_request_but_less_to_make_has_nothing_to_pay_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Simulation(tmp_path, config(["baseline", "long"], decision={"requests": 1000}))
    study.prepare("support")
    for recipe, seconds in (("baseline", 200), ("long", 20)):
        study.train("support", recipe, 1, seconds)
        study.evaluate("support", recipe, 1, 0.9, 1200)
    study.measure("support", 1, {"baseline": 20, "long": 24})
    results = accounted(study)
    long = rows(decided(study))["long"]
    assert (long["verdict"], long["break_even_requests"]) == ("loss", None)
    assert decided(study)["recommendation"]["losses"] == []
    capsys.readouterr()
    assert main(["recommend", str(results)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("support: deploy long.")
    assert "never" not in said


def test_what_cost_about_as_much_to_make_may_have_cost_more(tmp_path: Path) -> None:
    def found(name: str, training_s: list[float]) -> dict[str, float]:
        study = Simulation(tmp_path / name, config(["baseline", "long"], [1, 2, 3]))
        study.prepare("support")
        for seed, seconds in enumerate(training_s, 1):
            for recipe, trained in (("baseline", 60.0), ("long", seconds)):
                study.train("support", recipe, seed, trained)
                study.evaluate("support", recipe, seed, 0.9, 1200)
            study.measure("support", seed, {"baseline": 20 + 0.05 * seed, "long": 5 + 0.05 * seed})
        requests: dict[str, float] = rows(decided(study))["long"]["break_even_requests"]
        return requests

    assert found("less", [40.0, 41.0, 39.0]) == {"value": 0.0, "low": 0.0, "high": 0.0}
    unsure = found("unsure", [40.0, 75.0, 60.0])
    assert (unsure["value"], unsure["low"]) == (0.0, 0.0)
    assert 100 < unsure["high"] < 10_000
    more = found("more", [75.0, 80.0, 60.0])
    assert 0 <= more["low"] < more["value"] < more["high"]


def test_no_energy_is_saved_by_worse_answers(tmp_path: Path) -> None:
    experiment = decided(study_of(tmp_path, {"baseline": 20, "int8": 5}, {"int8": 0.8}))
    assert rows(experiment)["int8"]["qualifies"] == "no"
    assert experiment["recommendation"]["recipe"] == "baseline"
    assert experiment["recommendation"]["front"] == ["baseline", "int8"]


def test_too_few_examples_leave_the_quality_open(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5}, {"int8": 0.89}, examples=60)
    experiment = decided(study)
    assert rows(experiment)["int8"]["qualifies"] == "not resolvable"
    assert experiment["recommendation"]["recipe"] == "baseline"


def test_an_absolute_bound_that_nothing_reaches_recommends_nothing(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5}, decision={"quality": 0.97, "worse_by": None})
    advice = decided(study)["recommendation"]
    assert advice["recipe"] is None
    assert advice["quality_bound"] == 0.97
    assert advice["reason"] == "no recipe's quality is as asked"


def test_unknown_energy_recommends_nothing(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(), sensors=[UNKNOWN])
    for recipe in ("baseline", "int8"):
        study.evaluate("support", recipe, 1, 0.9)
    study.measure("support", 1, {"baseline": 5, "int8": 5})
    advice = decided(study)["recommendation"]
    assert advice["recipe"] is None
    assert "only be read by root" in advice["reason"]


def test_a_server_elsewhere_has_no_energy_and_says_why(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20})
    path = tmp_path / "measurements/support/seed-1.json"
    written = json.loads(path.read_text())
    (server,) = written["servers"]
    server |= {"metered": False, "energy_reason": "the endpoint runs elsewhere"}
    for round in server["points"][0]["rounds"]:
        round["serve_id"] = None
    path.write_text(json.dumps(written))
    experiment = decided(study)
    row = rows(experiment)["baseline"]
    assert row["energy_per_request_J"] is None
    assert row["reason"] == "the endpoint runs elsewhere"
    assert row["requests_per_s"] is not None
    assert "the endpoint runs elsewhere" in experiment["recommendation"]["reason"]


def test_an_endpoint_that_reports_no_tokens_has_an_energy_per_request_alone(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20})
    path = tmp_path / "measurements/support/seed-1.json"
    written = json.loads(path.read_text())
    for part in (point := written["servers"][0]["points"][0], *point["rounds"]):
        part["completion_tokens"] = None
    path.write_text(json.dumps(written))
    row = rows(decided(study))["baseline"]
    assert row["energy_per_request_J"] is not None
    assert row["energy_per_token_J"] is None


@pytest.mark.parametrize(
    ("file", "changed", "message"),
    [
        (
            "measurements/support/seed-1.json",
            {"schema": "greenllm/measurement/0"},
            "schema 'greenllm/measurement/0', expected 'greenllm/measurement/2'; remove the file and run measure again",
        ),
        (
            "evaluations/support/baseline/seed-1.json",
            {"schema": "greenllm/evaluation/0"},
            "schema 'greenllm/evaluation/0', expected 'greenllm/evaluation/1'; remove the file and run evaluate again",
        ),
        (
            "evaluations/support/baseline/seed-1.json",
            {"examples": "many"},
            "examples: input should be a valid integer, unable to parse string as an integer; remove the file",
        ),
        (
            "models/support/baseline/seed-1/model/training.json",
            {"resumed_from_step": [400]},
            "resumed_from_step: input should be a valid integer; remove the file and run its stage again",
        ),
    ],
)
def test_a_file_that_is_not_what_its_stage_writes_is_refused_by_name(
    tmp_path: Path, file: str, changed: dict[str, Any], message: str
) -> None:
    study = study_of(tmp_path, {"baseline": 20}, examples=50)
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(UserError) as refused:
        decided(study)
    assert f"{path}: {message}" in str(refused.value)


def test_a_seed_that_one_recipe_lacks_is_left_out_of_their_ratio(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5}, seeds=(1, 2, 3))
    for seed in (2, 3):
        path = tmp_path / f"measurements/support/seed-{seed}.json"
        written = json.loads(path.read_text())
        written["servers"][1] |= {"failure": "the server died", "points": []}
        path.write_text(json.dumps(written))
    found = rows(decided(study))["int8"]
    assert found["seeds_measured"] == [1]
    assert found["energy_spread"]["over"] == "rounds"
    assert found["times_less"]["value"] == pytest.approx(20 / 5, rel=0.02)


def test_rounds_are_the_spread_of_one_seed_and_seeds_that_of_several(tmp_path: Path) -> None:
    one = rows(decided(study_of(tmp_path / "one", {"baseline": 20, "int8": 5})))["int8"]["energy_spread"]
    assert (one["over"], one["count"], one["pooled"]) == ("rounds", 10, False)
    three = rows(decided(study_of(tmp_path / "three", {"baseline": 20, "int8": 5}, seeds=(1, 2, 3))))
    assert three["int8"]["energy_spread"]["over"] == "seeds"
    assert three["int8"]["energy_spread"]["count"] == 3
    assert three["int8"]["quality_difference"]["test"] == "t test over examples and seeds"


def test_starts_are_the_spread_where_servers_are_started_several_times(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(["baseline", "int8"]))
    study.measure("support", 1, {"baseline": 20, "int8": 5}, rounds=12, starts=4, twin=20)
    found = decided(study)
    assert rows(found)["int8"]["energy_spread"]["over"] == "starts"
    assert rows(found)["int8"]["energy_spread"]["count"] == 4
    assert (found["comparison"]["starts"], found["comparison"]["rounds"]) == (4, 3)
    twin = found["comparison"]["twin"]
    assert twin["times_less_99"]["low"] < twin["times_less"]["low"] < 1 < twin["times_less"]["high"]
    assert 0 < twin["resolvable"] < 0.05


def test_the_product_of_the_parts_is_the_whole(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(["baseline", "baseline-onnxruntime", "int8"]))
    study.measure("support", 1, {"baseline": 20, "baseline-onnxruntime": 6, "int8": 5}, rounds=12, starts=4)
    row = rows(decided(study))["int8"]
    assert [part["change"] for part in row["parts"]] == ["engine", "int8"]
    product = math.prod(part["times_less"]["value"] for part in row["parts"])
    assert product == pytest.approx(row["times_less"]["value"], rel=1e-9)


def test_where_the_same_model_differs_from_itself_nothing_is_recommended(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5})
    study.measure("support", 1, {"baseline": 20, "int8": 5}, twin=26)
    advice = decided(study)["recommendation"]
    assert advice["recipe"] is None
    assert advice["reason"] == "the host was not steady: the same model, deployed twice, differs from itself"


def test_a_twin_that_was_measured_in_one_round_does_not_make_the_host_unsteady(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.measure("support", 1, {"baseline": 20, "int8": 5}, rounds=1, twin=26)
    found = decided(study)["comparison"]
    assert found["steady"]
    assert found["twin"]["resolvable"] is None
    assert rows(decided(study))["int8"]["verdict"] == "not resolvable"


def test_one_round_of_one_seed_says_nothing_of_the_spread(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.measure("support", 1, {"baseline": 20}, rounds=1)
    spread = rows(decided(study))["baseline"]["energy_spread"]
    assert spread["over"] is None
    assert "says nothing of how far runs differ" in spread["note"]


def test_batch_curve_idle_power_and_sizes(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.train("support", "baseline", 1)
    study.measure("support", 1, {"baseline": 20}, concurrency=(1, 4, 16))
    row = rows(decided(study))["baseline"]
    assert [point["concurrency"] for point in row["curve"]] == [1, 4, 16]
    energies = [point["energy_per_request_J"]["value"] for point in row["curve"]]
    assert energies == pytest.approx([energies[0], energies[0] / 2, energies[0] / 4], rel=0.02)
    assert row["curve"][0]["energy_per_request_J"] == row["energy_per_request_J"]
    assert row["curve"][1]["requests_per_s"] == pytest.approx(100)
    assert 0 < row["idle_power_W"]["low"] < row["idle_power_W"]["value"] < 2 * 2 + 8 * 0.3 + 2 * 5
    assert row["memory_bytes"] == 310_000_000
    assert row["flops_per_token"] == 2.1e6
    assert row["accelerator_Wh_per_1000_requests"] is None, "no GPU"


def test_the_accelerators_part_of_a_request(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(), sensors=[*MODELLED, GPU], parameters={**PARAMETERS, **GPU_GAIN})
    study.measure("support", 1, {"baseline": 36})
    row = rows(decided(study))["baseline"]
    # 3 W and 6 W for each of 1.6 busy CPUs, over 36 s: the server holds the GPU, so all of it is its
    assert row["accelerator_Wh_per_1000_requests"]["value"] == pytest.approx(36 * (3 + 6 * 1.6) / 3600, rel=1e-3)
    assert row["energy_per_request_J"]["value"] > row["accelerator_Wh_per_1000_requests"]["value"] * 3.6


def test_of_bits_per_byte_fewer_are_better(tmp_path: Path) -> None:
    recipes = {"baseline": (1.0, 20), "int8": (0.9, 10), "long": (1.2, 5)}  # bits per byte, s for 1,000 requests
    texts = {"task": "language-modelling", "data": {"source": "embedded"}, "recipes": list(recipes)}
    study = Simulation(tmp_path, config(experiments={"support": texts}))
    study.prepare("support")
    task = TASKS["language-modelling"]
    for recipe, (bits, _) in recipes.items():
        study.train("support", recipe, 1)
        study.compress("support", recipe, 1)
        answers = [
            predicted("", "", TextPrediction, id=str(row), nats=nats, scored_bytes=100, scored_tokens=25)
            for row in range(200)
            for nats in [bits * math.log(2) * 100 * (1 + row % 7 / 100)]
        ]
        report = EvaluationReport(
            task=task.name,
            engine="transformers",
            precision="fp32",
            examples=200,
            bootstrap=200,
            primary=task.primary,
            metrics=scores_with_intervals(task, answers, 200, 1),
            seed=1,
            tokens=0,
            prompt_tokens=0,
        )
        report.write(tmp_path / f"evaluations/support/{recipe}/seed-1.json")
        path = tmp_path / f"evaluations/support/{recipe}/seed-1.predictions.jsonl"
        write_predictions(path, answers)
    study.measure("support", 1, {recipe: seconds for recipe, (_, seconds) in recipes.items()})
    experiment = decided(study)
    assert {recipe: row["qualifies"] for recipe, row in rows(experiment).items()} == {
        "baseline": "yes", "int8": "yes", "long": "no",
    }  # fmt: skip
    assert experiment["recommendation"]["recipe"] == "int8"
    assert experiment["recommendation"]["front"] == ["int8", "long"]
    bits = rows(experiment)["baseline"]["quality"]["value"]
    assert experiment["recommendation"]["quality_bound"] == pytest.approx(bits + 0.01)


def accounted(study: Simulation) -> Path:
    """Run `greenllm account` on a study; return its results folder."""
    settings = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    results = study.results
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    return accounted(study_of(folder, {"baseline": 20, "int8": 5, "long": 12}, {"int8": 0.87, "long": 0.93}))


def recommended(results: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["recommend", str(results), "--json", "--experiment", "support", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["support"]
    return found


def test_recommend_decides_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recommended(results, capsys)["recipe"] == "long"
    lax = recommended(results, capsys, "--worse-by", "0.1")
    assert lax["recipe"] == "int8"
    assert "deploy int8" in lax["sentence"]
    assert recommended(results, capsys, "--requests", "1000")["recipe"] == "baseline"
    assert recommended(results, capsys, "--quality", "0.99")["recipe"] is None


def test_recommend_prints_a_sentence_for_each_experiment(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["recommend", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["support", "dates"]
    assert lines[0].startswith("support: deploy long. ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--confidence", "2"], "confidence: input should be less than 1"),
        (["--requests", "0"], "requests: input should be greater than or equal to 1"),
        (["--quality", "nan"], "quality: input should be a finite number"),
        (["--experiment", "suport"], "did you mean 'support'?"),
    ],
)
def test_recommend_refuses_what_cannot_be_asked(
    results: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["recommend", str(results), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_quality_may_be_asked_of_one_experiment_that_another_metric_cannot_have(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(results, tmp_path / "results")
    stored = json.loads((folder / "account/account.json").read_text())
    stored["config"]["experiments"]["dates"]["task"] = "language-modelling"  # bits per byte may be above 1
    (folder / "account/account.json").write_text(json.dumps(stored))
    assert main(["recommend", str(folder), "--experiment", "dates", "--quality", "1.9"]) == 0
    assert recommended(folder, capsys, "--quality", "0.92")["quality_bound"] == 0.92
    assert main(["recommend", str(folder), "--quality", "1.9"]) == 2
    message = capsys.readouterr().err
    assert "support.decision.quality: 1.9 can't be reached" in message
    assert "--experiment NAME" in message


def test_recommend_needs_an_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(tmp_path)]) == 2
    assert "account.json: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("accuracy", "decision", "reason"),
    [
        (0.3, {"worse_by": 0.4}, "the accuracy of baseline itself is 0.3"),
        (0.3, {"worse_by": 0.5}, "the accuracy of baseline itself is 0.3"),
    ],
)
def test_a_bound_that_any_quality_reaches_decides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], accuracy: float, decision: dict[str, Any], reason: str
) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5}, {"baseline": accuracy, "int8": 0.0}, decision=decision)
    experiment = decided(study)
    advice = experiment["recommendation"]
    assert (advice["recipe"], advice["quality_bound"]) == (None, None)
    assert advice["reason"].startswith(reason[:40])
    assert {row["qualifies"] for row in rows(experiment).values()} == {"not resolvable"}
    results = accounted(study)
    capsys.readouterr()
    assert main(["recommend", str(results), "--experiment", "support"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"support: nothing can be recommended: {reason[:40]}")
    assert "of at least" not in said
    assert "−" not in said
    assert main(["recommend", str(results), "--experiment", "support", "--quality", "0.9"]) == 0
    assert "none reaches accuracy of at least 0.9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accuracy", "decision", "reason"),
    [
        (0.0, {}, "the accuracy of each recipe is 0, the worst that it can be"),
        (0.0, {"worse_by": None}, "the accuracy of each recipe is 0, the worst that it can be"),
        (
            0.12,
            {"quality": 0.1},
            "no recipe is shown to have a better accuracy than a model that ignores its input (0.1",
        ),
    ],
)
def test_where_no_recipe_is_better_than_chance_nothing_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], accuracy: float, decision: dict[str, Any], reason: str
) -> None:
    qualities = {"baseline": accuracy, "int8": accuracy}
    study = study_of(tmp_path, {"baseline": 20, "int8": 5}, qualities, decision=decision)
    advice = decided(study)["recommendation"]
    assert (advice["recipe"], advice["at_chance"]) == (None, advice["reason"])
    assert advice["reason"].startswith(reason)
    results = accounted(study)
    capsys.readouterr()
    assert main(["recommend", str(results), "--experiment", "support"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"support: nothing can be recommended. This study can't compare the recipes of support: {reason}"
    )
    assert "times less" not in said


def test_one_recipe_that_is_better_than_chance_is_compared(tmp_path: Path) -> None:
    qualities = {"baseline": 0.12, "int8": 0.3}
    study = study_of(tmp_path, {"baseline": 20, "int8": 5}, qualities, decision={"quality": 0.25, "worse_by": None})
    advice = decided(study)["recommendation"]
    assert (advice["recipe"], advice["at_chance"]) == ("int8", None)


def test_a_recipe_that_is_not_better_than_chance_is_not_recommended(tmp_path: Path) -> None:
    qualities = {"baseline": 0.4, "int8": 0.12, "long": 0.35}
    decision = {"quality": None, "worse_by": 0.35}
    study = study_of(tmp_path, {"baseline": 20, "int8": 5, "long": 10}, qualities, decision=decision)
    experiment = decided(study)
    assert rows(experiment)["int8"]["qualifies"] == "yes"
    assert (experiment["recommendation"]["recipe"], experiment["recommendation"]["at_chance"]) == ("long", None)


def test_without_the_baselines_quality_the_others_cannot_be_compared_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, {"baseline": 20, "int8": 5})
    (tmp_path / "evaluations/support/baseline/seed-1.json").unlink()
    advice = decided(study)["recommendation"]
    assert advice["recipe"] is None
    assert advice["reason"] == "baseline was not evaluated, so the others' accuracy can't be compared with it"
    results = accounted(study)
    capsys.readouterr()
    assert main(["recommend", str(results), "--experiment", "support", "--quality", "0.5"]) == 0
    assert "which the others' is compared with" not in (said := capsys.readouterr().out)
    assert "was not evaluated" in said
    assert "more examples" not in said


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--quality", "95", "decision.quality: 95 can't be reached: accuracy is between 0 and 1"),
        ("--quality", "-0.5", "decision.quality: -0.5 can't be reached"),
        ("--quality", "nan", "input should be a finite number, got nan"),
        ("--worse-by", "5", "decision.worse_by: 5 is more than the whole range: accuracy is between 0 and 1"),
    ],
)
def test_a_quality_that_the_metric_cannot_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    results = accounted(study_of(tmp_path, {"baseline": 20, "int8": 5}, examples=50))
    capsys.readouterr()
    assert main(["recommend", str(results), "--experiment", "support", option, value]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
