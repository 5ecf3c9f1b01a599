"""A study whose baseline computes on a GPU and whose other recipes on the CPU: the device is a factor of its own."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from simulated_study import GPU, GPU_GAIN, MODELLED, PARAMETERS, Simulation, config

from greenllm.account.account import account
from greenllm.account.document import Account
from greenllm.attribution import attribute
from greenllm.report.page import write_report
from greenllm.study.models import Config
from greenllm.study.results import read_study

ALONE, MOVED = "baseline-cpu", "baseline-onnxruntime"
SECONDS = {"baseline": 4.0, ALONE: 32.0, MOVED: 8.0, "int8": 4.0}  # for 1,000 requests


def studied(results: Path, on_cpu: list[str], seconds: dict[str, float] | None = None) -> dict[str, Any]:
    """Write a study whose servers compute on the GPU, but for some, and return its summary."""
    seconds = seconds or SECONDS
    asked = config(["baseline", "int8"], device="require", deploy={})
    assert asked.experiments["support"].recipes == list(SECONDS)
    study = Simulation(results, asked, [*MODELLED, GPU], {**PARAMETERS, **GPU_GAIN})
    study.prepare("support")
    study.train("support", "baseline", 1)
    for recipe in seconds:
        if recipe != "baseline":
            study.compress("support", recipe, 1)
        study.evaluate("support", recipe, 1, 0.9, 2000)
    study.measure("support", 1, seconds, on_cpu=on_cpu)
    return reported(asked, results)


def reported(asked: Config, results: Path) -> dict[str, Any]:
    """Return the summary of a study's report, whose figures are not drawn: that would take ten times as long."""
    found = account(read_study(asked, results), attribute(results / "ledger"), {})
    (results / "account").mkdir()
    file = results / "account/account.json"
    file.write_text(json.dumps(found.to_json(), allow_nan=False))
    write_report(Account.read(file), results / "report", drawn=False)
    summary: dict[str, Any] = json.loads((results / "report/summary.json").read_text())
    return summary


def rows(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["recipe"]: row for row in summary["experiments"]["support"]["comparison"]["recipes"]}


def changes(row: dict[str, Any]) -> list[str]:
    return [part["change"] for part in row["parts"]]


def test_a_saving_is_divided_into_device_engine_and_numerics(tmp_path: Path) -> None:
    summary = studied(tmp_path, [ALONE, MOVED, "int8"])
    found = rows(summary)
    assert {recipe: changes(row) for recipe, row in found.items()} == {
        "baseline": [],
        ALONE: ["device"],
        MOVED: ["device", "engine"],
        "int8": ["device", "engine", "int8"],
    }
    assert {recipe: row["is_control"] for recipe, row in found.items()} == {
        "baseline": False, ALONE: True, MOVED: True, "int8": False,
    }  # fmt: skip
    int8 = found["int8"]
    factors = [part["times_less"]["value"] for part in int8["parts"]]
    assert math.isclose(math.prod(factors), int8["times_less"]["value"], rel_tol=0.01)
    device, engine, numerics = factors
    assert device < 1 < numerics < engine, "the CPU takes longer, the engine saves most"
    assert int8["parts"][0]["verdict"] == "loss"
    page = (tmp_path / "report/index.html").read_text()
    assert "control: the device alone" in page
    assert "control: the device and the engine alone" in page


def test_the_sentence_names_the_device(tmp_path: Path) -> None:
    seconds = {**SECONDS, "baseline": 64.0}
    summary = studied(tmp_path, [ALONE, MOVED, "int8"], seconds)
    (finding,) = (one for one in summary["findings"] if one["experiment"] == "support")
    assert finding["recipe"] == "int8"
    said = finding["sentence"]
    assert said.index(": device ") < said.index(", engine ") < said.index(", int8 ")


def test_a_control_on_the_cpu_is_recommended_where_nothing_simpler_saves_more(tmp_path: Path) -> None:
    seconds = {"baseline": 64.0, ALONE: 8.0, MOVED: 8.0, "int8": 8.0}
    (finding,) = (one for one in studied(tmp_path, [ALONE, MOVED, "int8"], seconds)["findings"] if one["recipe"])
    assert finding["recipe"] == ALONE
    assert finding["sentence"].startswith(f"deploy {ALONE} (control: the device alone).")


def test_a_recipe_that_asked_for_a_gpu_and_ran_on_the_cpu_changes_no_device(tmp_path: Path) -> None:
    summary = studied(tmp_path, list(SECONDS))
    found = rows(summary)
    assert changes(found["int8"]) == [ALONE, "engine", "int8"]
    assert all(row["accelerator_Wh_per_1000_requests"] is None for row in found.values())
    assert "device alone" not in (tmp_path / "report/index.html").read_text()
    on_gpu = rows(studied(tmp_path / "gpu", [ALONE, MOVED, "int8"]))
    cpu_J, gpu_J = (one["baseline"]["energy_per_request_J"]["value"] for one in (found, on_gpu))
    assert gpu_J > 1.5 * cpu_J, "the GPU's energy is not charged to a server that did not use it"


def placed(results: Path, devices: dict[str, tuple[str, bool]]) -> None:
    """Rewrite the ledgers of the trainings, by recipe, as those of jobs on a device, which a plan chose or did not."""
    for path in (results / "ledger").rglob("*.jsonl"):
        start, *rest = path.read_text().splitlines()
        record = json.loads(start)
        if record["job"]["rule"] == "train":
            device, chosen = devices[record["job"]["wildcards"]["recipe"]]
            gpus = [] if device == "cpu" else [record["gpus"][0] | {"name": device}]
            record |= {"gpus_requested": 1, "planned_device": device if chosen else None, "gpus": gpus}
            path.write_text("\n".join([json.dumps(record), *rest]) + "\n")


def trained(results: Path, devices: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    """Write a study of two trainings on these devices, which a plan chose or did not, and return its summary."""
    asked = config(["baseline", "long"])
    study = Simulation(results, asked, [*MODELLED, GPU], {**PARAMETERS, **GPU_GAIN})
    study.prepare("support")
    for recipe in ("baseline", "long"):
        study.train("support", recipe, 1)
        study.evaluate("support", recipe, 1, 0.9)
    study.measure("support", 1, {"baseline": 26, "long": 5})
    placed(results, devices)
    return reported(asked, results)


@pytest.mark.parametrize("baseline_too", [True, False])
def test_trainings_that_a_plan_put_on_different_devices_are_not_compared(tmp_path: Path, baseline_too: bool) -> None:
    apart = trained(tmp_path / "apart", {"baseline": ("Card", baseline_too), "long": ("cpu", True)})
    long = rows(apart)["long"]
    assert long["placed_apart"] == ["Card", "cpu"]
    assert (long["break_even_requests"], long["total_energy_per_request_J"]) == (None, None)
    assert long["cost_to_produce_J"]["value"] > 0
    assert long["verdict"] == "saves", "its requests are compared as ever"
    assert apart["experiments"]["support"]["recommendation"]["recipe"] != "long"
    page = (tmp_path / "apart/report/index.html").read_text()
    assert "To produce long: not compared with the baseline, as a plan put their jobs on different devices" in page


@pytest.mark.parametrize("chosen", [True, False])
def test_trainings_on_one_device_are_compared_as_ever(tmp_path: Path, chosen: bool) -> None:
    together = trained(tmp_path, {"baseline": ("Card", chosen), "long": ("Card", chosen)})
    long = rows(together)["long"]
    assert long["placed_apart"] == []
    assert long["break_even_requests"] is not None
    assert long["total_energy_per_request_J"]["value"] > 0
    assert together["experiments"]["support"]["recommendation"]["recipe"] == "long"
