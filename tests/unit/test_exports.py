"""The account in the forms that others ask for, each checked by another project's validator, reader or field list."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from codecarbon.output_methods.boamps.models import BoAmpsReport
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from rocrate.rocrate import ROCrate
from simulated_study import (
    GPU,
    GPU_GAIN,
    MODELLED,
    PARAMETERS,
    RAPL,
    RAPL_GAIN,
    UNKNOWN,
    Simulation,
    config,
    whole_study,
)

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.cli import main
from greenllm.estimate import PartialInterval
from greenllm.exports.consequences import Coefficient, Consequences, consequences
from greenllm.exports.forms import FORMS
from greenllm.exports.sci import sci_reports
from greenllm.stages.export import NAMES
from greenllm.study.models import Recipe

J_PER_kWh = 3.6e6


def accounted(study: Simulation) -> Path:
    """Run `greenllm account` on a study; return its results folder."""
    settings = study.config.model_dump_json(by_alias=True)
    out = str(study.results / "account")
    assert main(["account", "--config", settings, "--results", str(study.results), "--out", out]) == 0
    return study.results


def small_study(results: Path, sensors: list[dict[str, Any]], parameters: dict[str, Any], **sections: Any) -> Path:
    """Make a study of one experiment on a host with these sensors; every job that may use its GPU does."""
    settings = config(**sections)
    study = Simulation(results, settings, sensors, parameters, memory_B=8e9, uses_gpu=lambda rule, recipe: True)
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.evaluate("support", "baseline", 1, 0.9)
    study.compress("support", "int8", 1)
    study.evaluate("support", "int8", 1, 0.9)
    study.measure("support", 1, {"baseline": 26, "int8": 5})
    return accounted(study)


STUDIES: dict[str, Callable[[Path], Path]] = {
    "modelled": lambda results: accounted(whole_study(results)),
    "measured, two seeds": lambda results: accounted(whole_study(results, seeds=[1, 2], measured=True)),
    "with a GPU, in France": lambda results: small_study(
        results, [*MODELLED, GPU], {**PARAMETERS, **GPU_GAIN}, site={"country": "FRA", "pue": 1.25}
    ),
}


def finished(given: Path, results: Path) -> Path:
    """Return a folder that has all of a finished run but its exports."""
    results.mkdir()
    for path in given.resolve().iterdir():
        if path.name != "exports":
            (results / path.name).symlink_to(path)
    return results


# $GREENLLM_RESULTS names results folders of finished runs: the forms' own checks are made of these as well.
RUNS = [path for path in os.environ.get("GREENLLM_RESULTS", "").split(os.pathsep) if path]


@pytest.fixture(scope="module", params=[*STUDIES, *RUNS])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, simulated or of a finished run, with its exports."""
    place = tmp_path_factory.mktemp("study") / "results"
    made = STUDIES.get(request.param)
    folder = made(place) if made else finished(Path(request.param), place)
    assert main(["export", str(folder), "--to", "all"]) == 0
    return folder


@pytest.fixture(scope="module", params=STUDIES)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its exports."""
    folder = STUDIES[request.param](tmp_path_factory.mktemp("study"))
    assert main(["export", str(folder), "--to", "all"]) == 0
    return folder


@pytest.fixture(scope="module")
def with_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study with a GPU and its exports."""
    folder = STUDIES["with a GPU, in France"](tmp_path_factory.mktemp("gpu"))
    assert main(["export", str(folder), "--to", "all"]) == 0
    return folder


def account_of(results: Path) -> Account:
    return Account.read(results / "account/account.json")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def energy_J(account: Account, rule: str, experiment: str, seed: int = 1) -> float:
    """Return the energy of all attempts at a rule's jobs, wasted ones included."""
    found = [job for job in account.jobs if (job.rule, job.experiment) == (rule, experiment)]
    return math.fsum(job.energy_J.value for job in found if job.seed in (None, seed) and job.energy_J)


def test_the_command_has_every_form() -> None:
    assert tuple(FORMS) == NAMES


# CycloneDX.


def test_the_ml_bom_is_valid_under_the_strict_schema(exported: Path) -> None:
    text = (exported / "exports/cyclonedx/bom.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None


def activities(results: Path, model: str) -> dict[str, dict[str, Any]]:
    bom = read(results / "exports/cyclonedx/bom.json")
    card = next(one for one in bom["components"] if one["name"] == model)["modelCard"]
    found = card["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    return {one["activity"]: one for one in found}


def test_the_ml_bom_has_the_joules_of_the_account_by_activity(results: Path) -> None:
    account = account_of(results)
    found = activities(results, "support-baseline-seed-1")
    rules = {"data-collection": "collect", "data-preparation": "preprocess", "training": "train"}
    for activity, rule in rules.items():
        cost = found[activity]["activityEnergyCost"]
        assert cost["unit"] == "kWh"
        assert cost["value"] == pytest.approx(energy_J(account, rule, "support") / J_PER_kWh)
    served = next(m for m in account.models if (m.experiment, m.recipe, m.seed) == ("support", "baseline", 1)).serving
    assert served is not None
    assert served.energy_J is not None
    assert found["inference"]["activityEnergyCost"]["value"] == pytest.approx(served.energy_J.value / J_PER_kWh)
    assert account.grid is not None
    site_kWh = found["training"]["activityEnergyCost"]["value"] * (account.pue or 1)
    assert found["training"]["co2CostEquivalent"]["value"] == pytest.approx(site_kWh * account.grid.value / 1e6)


def test_the_ml_bom_has_interval_method_and_waste_of_a_training(results: Path) -> None:
    training = activities(results, "support-baseline-seed-1")["training"]
    found = {one["name"].removeprefix("greenllm:"): one["value"] for one in training["properties"]}
    low, high = float(found["energy:low_kWh"]), float(found["energy:high_kWh"])
    assert low < training["activityEnergyCost"]["value"] < high
    assert "cpu" in found["method"]
    killed = [job for job in account_of(results).jobs if job.standing == "killed"]
    assert ("energy:wasted:value_kWh" in found) == bool(killed)


# BoAmps.


def boamps(results: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: read(path) for path in sorted((results / "exports/boamps").glob("*.json"))}


def test_codecarbon_reads_each_boamps_report_and_writes_it_again_the_same(exported: Path) -> None:
    reports = boamps(exported)
    trained = {"train"} & {job.rule for job in account_of(exported).jobs}
    assert {name.rsplit("-", 1)[1] for name in reports} >= {"collect", "evaluate", "serve", "compress", *trained}
    for report in reports.values():
        assert BoAmpsReport.from_dict(report).to_dict() == report


def test_boamps_reports_are_valid_under_their_schemas(exported: Path) -> None:
    """The schemas are CC BY 4.0 and not in any package: $GREENLLM_BOAMPS names a folder with the five files."""
    folder = os.environ.get("GREENLLM_BOAMPS")
    if folder is None:
        pytest.skip("no BoAmps schemas: set GREENLLM_BOAMPS to the folder `model` of Boavizta/BoAmps")
    from jsonschema import Draft4Validator
    from referencing import Registry, Resource

    schemas = [read(path) for path in Path(folder).glob("*_schema.json")]
    resources = [(schema["id"], Resource.from_contents(schema)) for schema in schemas]
    report = next(schema for schema in schemas if schema["title"] == "report")
    validator = Draft4Validator(report, registry=Registry().with_resources(resources))
    for name, found in boamps(exported).items():
        assert [error.message for error in validator.iter_errors(found)] == [], name


def test_boamps_quality_follows_from_the_interval(tmp_path: Path) -> None:
    for bounds, quality in (((0.95, 1.05), "high"), ((0.8, 1.2), "medium"), ((0.6, 1.4), "low"), ((0.1, 1.9), None)):
        gain = {"rapl.gain": {"value": 1.0, "low": bounds[0], "high": bounds[1], "unit": "1", "source": "test"}}
        rapl = {
            "component": "cpu", "device": "package-0", "method": "rapl", "quality": "measured", "reason": None,
            "counter": {"unit_J": 1e-6, "wrap": None, "shared": True},
            "terms": [{"parameter": "rapl.gain", "of": "counter", "factor": 1.0}],
        }  # fmt: skip
        folder = small_study(tmp_path / str(quality), [rapl], gain)
        assert main(["export", str(folder), "--to", "boamps"]) == 0
        assert boamps(folder)["support-baseline-seed-1-train"].get("quality") == quality


def test_a_serving_is_rounds_of_starts_not_attempts(results: Path) -> None:
    served = [job for job in account_of(results).jobs if job.rule == "serve" and job.standing == "current"]
    starts = len([job for job in served if (job.experiment, job.recipe, job.seed) == ("support", "baseline", 1)])
    task = boamps(results)["support-baseline-seed-1-serve"]["task"]
    assert task["taskDescription"].startswith(f"measured rounds alone; starts of the server: {starts}")
    properties = activities(results, "support-baseline-seed-1")["inference"]["properties"]
    found = {one["name"]: one["value"] for one in properties}
    assert found["greenllm:starts of the server"] == str(starts)
    assert "greenllm:attempts" not in found


# Hugging Face.


def test_model_cards_survive_the_hubs_round_trip(exported: Path) -> None:
    paths = list((exported / "exports/model-card").glob("*/README.md"))
    assert len(paths) == len([model for model in account_of(exported).models if model.quality])
    for path in paths:
        card = ModelCard.load(path)
        assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
        assert card.data.eval_results


def test_a_model_card_has_the_emissions_of_making_the_model(results: Path) -> None:
    account = account_of(results)
    model = next(m for m in account.models if (m.experiment, m.recipe, m.seed) == ("support", "int8", 1))
    made = model.cost_to_produce
    expected = made.carbon_g if account.pue is None else made.carbon_site_g
    assert expected is not None
    card = ModelCard.load(results / "exports/model-card/support-int8-seed-1/README.md")
    emissions = card.data.to_dict()["co2_eq_emissions"]
    assert emissions["emissions"] == pytest.approx(expected.value, rel=1e-5)
    assert emissions["training_type"] == "pre-training"
    assert "Environmental Impact" in card.text


def test_a_model_card_has_the_hours_of_making_the_model_once(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.prepare("support")
    study.job("train", 3600, 1.9, status="failed", experiment="support", recipe="baseline", seed=1)
    study.train("support", "baseline", 1, 7200)
    study.evaluate("support", "baseline", 1, 0.9)
    folder = accounted(study)
    assert main(["export", str(folder), "--to", "model-card", "--to", "eu-ai-act", "--out", str(tmp_path / "x")]) == 0
    (hours,) = re.findall(
        r"Hours used\W+([0-9.]+)", (tmp_path / "x/model-card/support-baseline-seed-1/README.md").read_text()
    )
    assert float(hours) == pytest.approx(2, abs=0.01)
    form = read(tmp_path / "x/eu-ai-act/support-baseline-seed-1.json")["items"]
    assert any("Attempts counted: 2 " in (item["note"] or "") for item in form), "where all attempts count"


# CodeCarbon.


def test_emissions_csv_has_codecarbons_columns_and_its_writer_adds_to_it(exported: Path, tmp_path: Path) -> None:
    text = (exported / "exports/codecarbon/emissions.csv").read_text()
    columns = [field.name for field in fields(EmissionsData)]
    assert next(csv.reader(text.splitlines())) == columns
    (tmp_path / "emissions.csv").write_text(text)
    before = pd.read_csv(tmp_path / "emissions.csv")
    ours = FileOutput("emissions.csv", str(tmp_path), on_csv_write="append")
    ours.out(EmissionsData(**{**dict.fromkeys(columns, 0.0), "run_id": "another"}), None)
    after = pd.read_csv(tmp_path / "emissions.csv")
    assert list(after.run_id) == [*before.run_id, "another"], "with other columns it would have begun a new file"


def test_the_rows_of_emissions_csv_add_up_to_what_the_study_spent(results: Path) -> None:
    account, rows = account_of(results), pd.read_csv(results / "exports/codecarbon/emissions.csv")
    total = account.spent.total
    assert total.energy_J is not None
    carbon = total.carbon_g if account.pue is None else total.carbon_site_g
    assert carbon is not None
    assert rows.energy_consumed.sum() == pytest.approx(total.energy_J.value * (account.pue or 1) / J_PER_kWh)
    assert rows.emissions.sum() == pytest.approx(carbon.value / 1000)
    parts = rows[["cpu_energy", "gpu_energy", "ram_energy"]].sum(axis=1)
    assert parts.tolist() == pytest.approx(rows.energy_consumed.tolist())
    assert rows.water_consumed.isna().all(), "water is unknown, and not 0"


# SCI.


def reports(results: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(results / "exports/sci/sci.json")["reports"]
    return found


def require_checklist(report: dict[str, Any]) -> None:
    """Assert what the checklist of SCI for AI's report template asks for."""
    unit = report["functionalUnit"]["name"]
    assert report["unit"] == f"gCO2e per {unit}"
    assert {part["functionalUnit"] for part in report["components"]} == {unit}, "one R"
    parts = [part["score"]["value"] for part in report["components"]]
    assert math.fsum(parts) == pytest.approx(report["score"]["value"]), "parts sum"
    known = [one["value"] for one in report["breakdown"].values() if one is not None]
    assert math.fsum(known) == pytest.approx(report["score"]["value"])
    for part in report["components"]:
        assert part["method"] in ("c", "om", "eim")
        assert part["methodologies"]
    assert all({"name", "value", "unit", "source"} <= one.keys() for one in report["coefficients"])
    assert report["boundary"]
    assert report["functionalUnit"]["rationale"]
    assert report["measured"]["from"] < report["measured"]["until"]


def test_the_energy_of_a_score_is_measured_only_if_all_of_it_is(results: Path) -> None:
    qualities = {part.quality for job in account_of(results).jobs for part in job.components if part.energy_J}
    expected = "measured" if qualities == {"measured"} else "modeled"
    for report in reports(results):
        assert {part["methodologies"]["E"] for part in report["components"]} == {expected}
        assert report["methodologies"]["E"] == expected
        assert report["methodologies"]["M"] is None


def test_the_energy_of_a_host_whose_sensors_all_count_is_measured(tmp_path: Path) -> None:
    folder = small_study(tmp_path, [RAPL], RAPL_GAIN)
    assert main(["export", str(folder), "--to", "sci"]) == 0
    assert {report["methodologies"]["E"] for report in reports(folder)} == {"measured"}


def test_each_sci_report_meets_the_checklist(exported: Path) -> None:
    account = account_of(exported)
    names = [report["name"] for report in reports(exported)]
    assert all(any(f"{score} score" in name for name in names) for score in ("consumer", "provider"))
    for report in reports(exported):
        require_checklist(report)
        listed = " ".join(one["name"] for one in report["coefficients"])
        used = [name for name in account.parameters if not name.startswith("unseen@")]
        for name in ("carbon intensity", *used, *(["PUE"] if account.pue else [])):
            assert name in listed, "all coefficients are listed"


def test_without_embodied_carbon_nothing_is_called_an_sci(results: Path) -> None:
    for report in reports(results):
        assert report["isSCI"] is False
        assert report["breakdown"]["embodied"] is None
        assert "not an SCI" in report["name"]
    for line in (results / "exports/sci/sci.md").read_text().splitlines():
        if line.startswith("# "):
            assert "not an SCI" in line


def test_with_embodied_carbon_a_report_is_an_sci_and_its_parts_sum(results: Path) -> None:
    account = account_of(results)
    model = next(m for m in account.models if (m.experiment, m.recipe, m.seed) == ("support", "int8", 1))
    embodied = {job.id: PartialInterval(0.25, 0.2, 0.5) for job in account.jobs}
    tes = Coefficient("TE of a server", 1e6, 5e5, 2e6, "gCO2e", "test")
    site = Consequences(
        account.grid, consequences(account).pue, embodied, {("support", "int8"): PartialInterval(0.1, 0, 1)}, [tes]
    )
    found = list(sci_reports(account, model, site))
    assert [(report["name"], report["isSCI"]) for report in found] == [
        ("SCI for AI, consumer score", True),
        ("SCI for AI, provider score", True),
    ]
    for report in found:
        require_checklist(report)
        assert any(one["name"] == tes.name for one in report["coefficients"])
    consumer, provider = found
    assert consumer["breakdown"]["embodied"]["value"] == pytest.approx(0.1)
    assert model.parameters is not None
    stages = ("collect", "preprocess", "compress int8", "evaluate int8", "evaluate baseline")
    jobs = {**dict.fromkeys(stages, 1), "train baseline": 0}
    jobs["train baseline"] = sum(
        job.rule == "train" and job.experiment == "support" and job.seed == 1 for job in account.jobs
    )
    expected = 0.25 * sum(jobs.values()) / (model.parameters / 1e9)
    assert provider["breakdown"]["embodied"]["value"] == pytest.approx(expected), "every attempt, failed ones included"


def test_the_consumer_score_is_the_carbon_of_a_request(results: Path) -> None:
    account = account_of(results)
    model = next(m for m in account.models if (m.experiment, m.recipe, m.seed) == ("support", "int8", 1))
    assert model.serving is not None
    assert model.serving.energy_J is not None
    assert account.grid is not None
    each_kWh = model.serving.energy_J.value / model.serving.answered / J_PER_kWh
    report = next(one for one in reports(results) if one["application"]["name"] == "support-int8-seed-1")
    assert report["unit"] == "gCO2e per request"
    assert report["score"]["value"] == pytest.approx(each_kWh * (account.pue or 1) * account.grid.value)


# EU AI Act.

# The form's items on computation and energy (General-Purpose AI Code of Practice, 10 July 2025).
ITEMS = (
    "Training time",
    "Amount of computation used for training",
    "Measurement methodology (computation used for training)",
    "Amount of energy used for training",
    "Measurement methodology (energy used for training)",
    "Benchmarked amount of computation used for inference",
    "Measurement methodology (computation used for inference)",
)
BOUNDARIES = ("accelerators", "hosts", "facility")


def items(results: Path, model: str) -> dict[str, dict[str, Any]]:
    found = read(results / f"exports/eu-ai-act/{model}.json")["items"]
    return {item["item"]: item for item in found}


def number(item: dict[str, Any]) -> float:
    """Return the number at the start of an item's value, as the form writes it: 5.1*10^17 FLOP."""
    return float(item["value"].split()[0].replace("*10^", "e"))


def test_the_form_of_each_model_has_every_item(exported: Path) -> None:
    forms = sorted((exported / "exports/eu-ai-act").glob("*.json"))
    assert forms
    for path in forms:
        found, page = items(exported, path.stem), path.with_suffix(".md").read_text()
        for name in ITEMS:
            assert any(item.startswith(name) for item in found), name
        assert all(item in page for item in found)
        for boundary in BOUNDARIES:
            assert any(name.startswith(f"{ITEMS[3]} ({boundary}") for name in found), boundary


def test_the_form_has_each_item_in_its_unit_and_all_boundaries(results: Path) -> None:
    account, found = account_of(results), items(results, "support-baseline-seed-1")
    train_J = energy_J(account, "train", "support")
    energies = {
        boundary: next(item for name, item in found.items() if name.startswith(f"{ITEMS[3]} ({boundary}"))
        for boundary in BOUNDARIES
    }
    assert "MWh" in energies["hosts"]["value"]
    assert number(energies["hosts"]) == pytest.approx(train_J / 3.6e9, rel=0.05), "two significant digits"
    if account.pue is None:
        assert energies["facility"]["value"].startswith("N/A: ")
    else:
        assert number(energies["facility"]) == pytest.approx(1.25 * train_J / 3.6e9, rel=0.05)
    assert found["Training time (range)"]["value"] == "less than 1 month"
    trained = [job for job in account.jobs if (job.rule, job.experiment, job.seed) == ("train", "support", 1)]
    counted = math.fsum(job.work.get("flops") or 0 for job in trained)
    assert "FLOP" in found[ITEMS[1]]["value"]
    assert number(found[ITEMS[1]]) == pytest.approx(counted, rel=0.05)


def test_the_form_separates_the_accelerators_energy(with_gpu: Path) -> None:
    found = items(with_gpu, "support-baseline-seed-1")
    gpu_J = math.fsum(
        part.energy_J.value
        for job in account_of(with_gpu).jobs
        for part in job.components
        if job.rule == "train" and part.component == "gpu" and part.energy_J
    )
    assert gpu_J > 0
    assert number(found["Amount of energy used for training (accelerators)"]) == pytest.approx(gpu_J / 3.6e9, rel=0.05)
    assert found["Amount of energy used for training (accelerators)"]["note"] == "measured"
    hosts = next(item for name, item in found.items() if name.startswith("Amount of energy used for training (hosts"))
    assert hosts["note"] == "estimated", "its processor is modelled"
    assert "GPU days" in found["Training time (hardware days)"]["value"]


def test_parts_of_a_training_on_other_hosts_run_at_the_same_time(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    second = Simulation(tmp_path, study.config, host="node2")
    names: dict[str, Any] = {"experiment": "support", "recipe": "baseline", "seed": 1}
    study.prepare("support")
    began_s = study.now_s
    study.train("support", "baseline", 1)
    trained = max(path.stem for path in tmp_path.glob("ledger/node1/*.jsonl"))
    second.job("train-node", 50, 1.5, parent=trained, at_s=began_s + 2, **names)
    study.evaluate("support", "baseline", 1, 0.9)
    folder = accounted(study)
    assert main(["export", str(folder), "--to", "all"]) == 0
    found = items(folder, "support-baseline-seed-1")
    assert number(found["Training time (wall clock days)"]) == pytest.approx(60 / 86400, rel=0.05)
    assert "Attempts counted: 1 " in str(found["Training time (wall clock days)"]["note"])
    assert number(found["Training time (hardware days)"]) == pytest.approx(110 / 86400, rel=0.05)
    training = activities(folder, "support-baseline-seed-1")["training"]
    assert {"name": "greenllm:attempts", "value": "1"} in training["properties"]
    assert boamps(folder)["support-baseline-seed-1-train"]["measures"][0]["measurementDuration"] == pytest.approx(60)


def test_unknown_tokens_are_not_counted_as_none(tmp_path: Path) -> None:
    folder = small_study(tmp_path, MODELLED, PARAMETERS)
    path = folder / "account/account.json"
    account = read(path)
    for model in account["models"]:
        if model["serving"]:
            model["serving"]["prompt_tokens"] = None
    path.write_text(json.dumps(account))
    assert main(["export", str(folder), "--to", "eu-ai-act"]) == 0
    found = items(folder, "support-baseline-seed-1")
    for name in (ITEMS[5], ITEMS[6]):
        assert found[name]["value"].startswith("N/A: ")


# AI Energy Score.


def test_an_ai_energy_score_needs_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = accounted(whole_study(tmp_path))
    capsys.readouterr()
    assert main(["export", str(folder), "--to", "ai-energy-score"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no job of the study held one" in said
    assert not (folder / "exports").exists()
    assert main(["export", str(folder), "--to", "all"]) == 0
    assert "does not apply: the AI Energy Score counts" in (folder / "exports/README.md").read_text()
    assert not (folder / "exports/ai-energy-score").exists()


# Of its results_aggregator.py, ResultsAggregator.COLUMNS.
SCORE_COLUMNS = [
    "model_name", "model_class", "task", "reasoning_state", "total_prompts", "successful_prompts", "failed_prompts",
    "total_duration_seconds", "avg_total_time", "avg_time_to_first_token", "total_tokens", "total_prompt_tokens",
    "total_completion_tokens", "throughput_tokens_per_second", "gpu_energy_wh", "wh_per_1000_queries",
    "co2_emissions_g", "tokens_per_joule", "avg_energy_per_prompt_wh", "timestamp", "error_message",
]  # fmt: skip


def test_ai_energy_score_rows_have_its_columns_and_the_gpus_energy(with_gpu: Path) -> None:
    rows = pd.read_csv(with_gpu / "exports/ai-energy-score/master_results.csv")
    assert list(rows.columns) == SCORE_COLUMNS
    recipes = {row.recipe: row for row in account_of(with_gpu).experiments["support"].comparison.recipes}
    for row in rows.to_dict("records"):
        recipe = recipes[row["model_name"].removeprefix("support-")]
        assert recipe.accelerator_Wh_per_1000_requests is not None
        assert row["wh_per_1000_queries"] == pytest.approx(recipe.accelerator_Wh_per_1000_requests.value)
        assert row["tokens_per_joule"] == pytest.approx(row["total_tokens"] / (row["gpu_energy_wh"] * 3600))
        assert row["model_class"] == "A"
    assert len(rows) == 2
    assert rows.avg_time_to_first_token.isna().all(), "its mean is unknown, and not 0"


def test_its_own_summary_reads_the_report(with_gpu: Path, tmp_path: Path) -> None:
    """$GREENLLM_AI_ENERGY_SCORE names summarize_gpu_wh.py of huggingface/AIEnergyScore."""
    script = os.environ.get("GREENLLM_AI_ENERGY_SCORE")
    if script is None:
        pytest.skip("no summary script: set GREENLLM_AI_ENERGY_SCORE to AI Energy Score's summarize_gpu_wh.py")
    for report in (with_gpu / "exports/ai-energy-score").glob("*/benchmark_report.json"):
        ours = read(report.with_name("GPU_ENERGY_SUMMARY.json"))
        copy = tmp_path / report.parent.name / report.name
        copy.parent.mkdir()
        copy.write_text(report.read_text())
        subprocess.run([sys.executable, script, str(copy)], check=True, capture_output=True)
        theirs = read(copy.with_name("GPU_ENERGY_SUMMARY.json"))
        assert theirs["total"] == pytest.approx(ours["total"])
        assert theirs["format"] == ours["format"]
        assert theirs["units"] == ours["units"]


# RO-Crate.


def test_the_crate_is_read_back_with_the_energy_of_each_job(exported: Path) -> None:
    account, folder = account_of(exported), exported / "exports/ro-crate"
    crate = ROCrate(str(folder))
    assert crate.mainEntity.id == "Snakefile"
    assert any("wfrun/provenance" in profile.id for profile in crate.root_dataset["conformsTo"])
    for entity in crate.data_entities:
        assert (folder / entity.id).exists(), "the crate holds its files"
    used = {}
    ended = [job for job in account.jobs if job.standing != "running"]  # of a real run: without the account's own job
    for job in ended:
        action = crate.dereference(f"#job-{job.id}")
        assert action.type == "CreateAction"
        assert action["instrument"].id == f"#tool-{job.rule}"
        energy = next(one for one in action["resourceUsage"] if one["name"] == "energy")
        assert energy["unitCode"].endswith("/J")
        used[job.id] = float(energy["value"])
    total = math.fsum(job.energy_J.value for job in ended if job.energy_J)
    assert math.fsum(used.values()) == pytest.approx(total)


def test_the_crate_meets_what_the_profile_demands(exported: Path) -> None:
    """The MUSTs of Provenance Run Crate 0.5."""
    crate = ROCrate(str(exported / "exports/ro-crate"))
    workflow = crate.mainEntity
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} <= set(workflow.type)
    tools = {tool.id for tool in workflow["hasPart"]}
    for step in workflow["step"]:
        assert step["workExample"].id in tools
    engines = [entity for entity in crate.contextual_entities if entity.type == "OrganizeAction"]
    assert engines
    for engine in engines:
        assert engine["instrument"].id == "#snakemake"
        assert engine["result"]["instrument"].id == "Snakefile"
        for control in engine["object"]:
            assert control["instrument"] in workflow["step"]
            assert control["object"]["instrument"].id in tools
    for action in (entity for entity in crate.contextual_entities if entity.type == "CreateAction"):
        for usage in action.get("resourceUsage", []):
            assert usage["propertyID"]
            assert usage["unitCode"]


# A model that was trained elsewhere.


def test_each_form_says_what_a_fine_tuned_model_started_from(tmp_path: Path) -> None:
    started = {
        "support": {
            "task": "customer-service", "data": {"source": "embedded"}, "model": {"init": "somebody/small-model"},
            "recipes": ["baseline", "int8"], "seeds": [1],
        }
    }  # fmt: skip
    folder = small_study(tmp_path, MODELLED, PARAMETERS, experiments=started)
    assert main(["export", str(folder), "--to", "all"]) == 0
    found = activities(folder, "support-baseline-seed-1")
    assert "fine-tuning" in found
    assert "training" not in found
    task = boamps(folder)["support-baseline-seed-1-train"]["task"]
    assert task["taskStage"] == "finetuning"
    assert task["algorithms"][0]["foundationModelName"] == "somebody/small-model"
    card = ModelCard.load(folder / "exports/model-card/support-baseline-seed-1/README.md")
    assert card.data.to_dict()["co2_eq_emissions"]["training_type"] == "fine-tuning"
    form = items(folder, "support-baseline-seed-1")
    assert form["Model dependencies"]["value"] == "somebody/small-model"
    assert "was done elsewhere" in form["Measurement methodology (energy used for training)"]["value"]
    for report in reports(folder):
        if report["name"].startswith("provider"):
            assert any("elsewhere" in line for line in report["assumptions"])


# All.


@pytest.mark.parametrize("form", NAMES)
def test_a_folder_without_an_account_is_refused_in_one_line(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path), "--to", form]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "account.json" in said


def test_several_forms_are_written_into_a_folder_each(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study", MODELLED, PARAMETERS)
    out = tmp_path / "out"
    assert main(["export", str(folder), "--to", "cyclonedx", "--to", "boamps", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"cyclonedx", "boamps"}
    assert (out / "cyclonedx/bom.json").is_file()


def test_carbon_follows_the_footprint_of_another_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, footprint = small_study(tmp_path / "study", MODELLED, PARAMETERS), tmp_path / "there.json"
    options = ["--carbon", "100", "--pue", "2", "--draws", "500", "--out", str(footprint)]
    assert main(["footprint", str(folder), *options]) == 0
    out = tmp_path / "out"
    assert main(["export", str(folder), "--to", "codecarbon", "--out", str(out), "--footprint", str(footprint)]) == 0
    rows = pd.read_csv(out / "emissions.csv")
    assert rows.pue.tolist() == [2] * len(rows)
    assert rows.emissions.tolist() == pytest.approx((rows.energy_consumed * 0.1).tolist()), "kg, 100 g/kWh"
    joules = math.fsum(job.energy_J.value for job in account_of(folder).jobs if job.energy_J)
    assert rows.energy_consumed.sum() == pytest.approx(2 * joules / J_PER_kWh)
    other = small_study(tmp_path / "other", [UNKNOWN], {})
    assert main(["export", str(other), "--to", "eu-ai-act", "--footprint", str(footprint)]) == 2
    assert "is of another account" in capsys.readouterr().err


def footprint_beside(folder: Path, *options: str) -> Footprint:
    """Make the footprint of a study's account, as the workflow does."""
    out = folder / "account/footprint.json"
    assert main(["footprint", str(folder), "--draws", "500", "--out", str(out), *options]) == 0
    return Footprint.read(out)


def test_carbon_is_that_of_the_footprint_with_idle_energy_and_the_same_in_all_forms(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study", MODELLED, PARAMETERS)
    footprint, account = footprint_beside(folder), account_of(folder)
    grams = {job.id: job.carbon_g.value for job in footprint.jobs if job.carbon_g}
    total = footprint.total
    assert total.carbon_g is not None
    assert total.idle_J is not None
    assert total.idle_J.value > 0
    assert main(["export", str(folder), "--to", "all"]) == 0

    rows = pd.read_csv(folder / "exports/codecarbon/emissions.csv")
    assert rows.emissions.sum() * 1000 == pytest.approx(total.carbon_g.value)
    training = next(job for job in account.jobs if job.rule == "train")
    found = activities(folder, "support-baseline-seed-1")["training"]
    assert found["co2CostEquivalent"]["value"] * 1e6 == pytest.approx(grams[training.id])
    said = {one["name"]: one["value"] for one in found["properties"]}
    assert "with its share of the hosts' idle energy" in said["greenllm:carbon:boundary"]
    crate = ROCrate(str(folder / "exports/ro-crate"))
    usages = crate.dereference(f"#job-{training.id}")["resourceUsage"]
    carbon = next(one for one in usages if one["name"] == "carbon")
    assert float(carbon["value"]) == pytest.approx(grams[training.id])
    model = next(one for one in account.models if one.recipe == "int8")
    card = ModelCard.load(folder / "exports/model-card/support-int8-seed-1/README.md")
    once_g = math.fsum(grams[one] for step in model.cost_to_produce.steps for one in step.ids)
    assert card.data.to_dict()["co2_eq_emissions"]["emissions"] == pytest.approx(once_g, rel=1e-5)


def test_a_provider_score_is_that_of_the_footprint(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study", MODELLED, PARAMETERS)
    scores = {
        one.recipe: one
        for one in footprint_beside(folder).scores
        if (one.experiment, one.score, one.unit) == ("support", "provider", "billion parameter")
    }
    assert set(scores) == {"baseline", "int8"}
    assert main(["export", str(folder), "--to", "sci"]) == 0
    for report in reports(folder):
        if report["name"].startswith("SCI for AI, provider"):
            score = scores.pop(report["application"]["name"].split("-")[1])
            assert score.value_g is not None
            assert score.operational_g is not None
            assert report["score"]["value"] == pytest.approx(score.value_g.value)
            assert report["breakdown"]["operational"]["value"] == pytest.approx(score.operational_g.value)
            assert "with its share of the hosts' idle energy" in report["boundary"]
            factors = {one["name"]: one["value"] for one in report["coefficients"]}
            for part in report["components"]:
                site_kWh = part["energy_kWh"] * factors["PUE"]
                operational_g = site_kWh * factors["I: carbon intensity of electricity"]
                count = report["functionalUnit"]["count"]
                assert part["operational"]["value"] == pytest.approx(operational_g / count), "O is E times I"
    assert not scores


def test_checks_of_an_unchanged_model_count_for_those_made_from_it_in_the_page_and_in_exports(tmp_path: Path) -> None:
    given = config(
        experiments={
            "support": {
                "task": "customer-service", "data": {"source": "embedded"}, "model": {"init": "somebody/small-model"},
                "recipes": ["baseline", "int8"], "seeds": [1],
            }
        }
    )  # fmt: skip
    recipes = {"baseline": Recipe(), "int8": given.recipes["int8"]}
    study = Simulation(tmp_path, given.model_copy(update={"recipes": recipes}), memory_B=8e9)
    study.prepare("support")
    study.job("collect_model", 3, 0.5, experiment="support")
    study.evaluate("support", "baseline", 1, 0.9)
    study.compress("support", "int8", 1)
    study.evaluate("support", "int8", 1, 0.9)
    folder = accounted(study)
    (score,) = (one for one in footprint_beside(folder).scores if (one.recipe, one.score) == ("int8", "provider"))
    assert score.value_g is not None
    assert main(["export", str(folder), "--to", "sci"]) == 0
    (report,) = (one for one in reports(folder) if one["application"]["name"] == "support-int8-seed-1")
    assert "evaluate baseline" in [part["name"] for part in report["components"]]
    assert report["score"]["value"] == pytest.approx(score.value_g.value)


def test_without_a_footprint_carbon_says_that_idle_energy_is_left_out(results: Path) -> None:
    provider = next(one for one in reports(results) if one["name"].startswith("provider"))
    assert "without the hosts' idle energy" in provider["boundary"]
    assert any("idle energy is left out" in line for line in provider["assumptions"])
    training = activities(results, "support-baseline-seed-1")["training"]
    said = {one["name"]: one["value"] for one in training["properties"]}
    assert "without the hosts' idle energy" in said["greenllm:carbon:boundary"]


def test_without_any_energy_each_form_says_why_and_none_has_a_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_study(tmp_path, [UNKNOWN], {})
    for form in ("cyclonedx", "boamps", "codecarbon", "sci", "ai-energy-score"):
        capsys.readouterr()
        assert main(["export", str(folder), "--to", form]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["export", str(folder), "--to", "all"]) == 0
    found = items(folder, "support-baseline-seed-1")
    energies = [item["value"] for name, item in found.items() if name.startswith("Amount of energy")]
    assert len(energies) == 3
    assert all(value.startswith("N/A: ") for value in energies)
    card = ModelCard.load(folder / "exports/model-card/support-baseline-seed-1/README.md")
    assert "emissions" not in card.data.to_dict()["co2_eq_emissions"]


def test_without_a_grid_factor_carbon_is_left_out(tmp_path: Path) -> None:
    folder = small_study(tmp_path, MODELLED, PARAMETERS, site={"country": None})
    assert main(["export", str(folder), "--to", "all"]) == 0
    assert "sci" not in {path.name for path in (folder / "exports").iterdir()}
    assert "co2CostEquivalent" not in activities(folder, "support-baseline-seed-1")["training"]
    assert pd.read_csv(folder / "exports/codecarbon/emissions.csv").emissions.isna().all()


def test_it_can_be_written_again_and_replaces_nothing_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_study(tmp_path / "results", MODELLED, PARAMETERS)
    out = tmp_path / "bom"
    assert main(["export", str(folder), "--to", "cyclonedx", "--out", str(out)]) == 0
    first = (out / "bom.json").read_bytes()
    assert main(["export", str(folder), "--to", "cyclonedx", "--out", str(out)]) == 0
    assert (out / "bom.json").read_bytes() == first, "the same account makes the same bytes"
    (out / "notes.txt").write_text("mine")
    assert main(["export", str(folder), "--to", "cyclonedx", "--out", str(out)]) == 2
    assert "notes.txt" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"
