"""A GPU that its holder never used is named, and no ratio includes its energy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_study import GPU, GPU_GAIN, MODELLED, PARAMETERS, Simulation, config

from greenllm.account.account import account
from greenllm.attribution import attribute
from greenllm.cli import main
from greenllm.meter.usage import CONTEXT_B, MemoryUse
from greenllm.study.results import read_study

BASELINE = "gpu: GPU-0 was leased, but never used"


def studied(results: Path, uses_gpu: Callable[[str, str | None], bool] | None) -> dict[str, Any]:
    """Write a study whose jobs all hold a GPU, and return its account."""
    study = Simulation(results, config(), [*MODELLED, GPU], {**PARAMETERS, **GPU_GAIN}, uses_gpu=uses_gpu)
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.evaluate("support", "baseline", 1, 0.9)
    study.compress("support", "int8", 1)
    study.evaluate("support", "int8", 1, 0.9)
    study.measure("support", 1, {"baseline": 26, "int8": 5})
    found = account(read_study(study.config, results), attribute(results / "ledger"), {})
    written: dict[str, Any] = json.loads(json.dumps(found.to_json(), allow_nan=False))
    (results / "account").mkdir()
    (results / "account/account.json").write_text(json.dumps(written))
    return written


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["recipe"]: row for row in found["experiments"]["support"]["comparison"]["recipes"]}


@pytest.fixture
def unused(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A study whose baseline held a GPU and computed on the CPU."""
    return tmp_path, studied(tmp_path, lambda rule, recipe: recipe == "int8")


def test_it_is_named_and_its_energy_stays_counted(unused: tuple[Path, dict[str, Any]]) -> None:
    _, found = unused
    assert {(row["stage"], row["recipe"], row["gpu"]) for row in found["unused"]} == {
        *((stage, "baseline", "GPU-0") for stage in ("train", "evaluate")),
        *((stage, None, "GPU-0") for stage in ("preprocess", "measure")),
    }
    assert all(row["energy_J"]["value"] > 0 for row in found["unused"])
    train = next(job for job in found["jobs"] if job["rule"] == "train")
    assert (
        train["energy_J"]["value"]
        > next(row for row in found["unused"] if row["stage"] == "train")["energy_J"]["value"]
    )


def test_no_ratio_includes_its_energy(unused: tuple[Path, dict[str, Any]]) -> None:
    _, found = unused
    baseline, int8 = rows(found)["baseline"], rows(found)["int8"]
    for name in ("energy_per_request_J", "energy_per_token_J", "idle_power_W", "cost_to_produce_J"):
        assert baseline[name] is None, name
    assert baseline["reason"] == BASELINE
    assert int8["energy_per_request_J"] is None, "the measurement held a GPU that no server used"
    assert (int8["times_less"], int8["verdict"], int8["break_even_requests"]) == (None, "unknown", None)
    assert int8["total_energy_per_request_J"] is None, "its cost includes the baseline's training"
    advice = found["experiments"]["support"]["recommendation"]
    assert advice["recipe"] is None
    assert "never used" in advice["reason"]
    for row in found["efficiency"]:
        per_unit = [row[name] for name in row if name.startswith("J_per_") and row[name] is not None]
        if row["recipe"] == "baseline" and row["stage"] != "load":  # which held none
            assert not per_unit
            assert row["unknown"] == BASELINE
    assert any(row["J_per_sample"] for row in found["efficiency"] if row["recipe"] == "int8")


def test_the_report_and_recommend_and_compare_say_so(
    unused: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    results, _ = unused
    assert main(["report", "--account", str(results / "account/account.json"), "--out", str(results / "report")]) == 0
    page = (results / "report/index.html").read_text()
    assert "leased and never used" in page
    table = (results / "report/tables/unused.csv").read_text()
    assert "train,node1,GPU-0," in table
    summary = json.loads((results / "report/summary.json").read_text())
    (finding,) = (one for one in summary["findings"] if one["experiment"] == "support")
    assert finding["recipe"] is None
    assert BASELINE in finding["sentence"]
    capsys.readouterr()
    assert main(["recommend", str(results), "--experiment", "support"]) == 0
    assert BASELINE in capsys.readouterr().out
    assert main(["compare", str(results), str(results)]) == 0
    printed = capsys.readouterr().out
    assert f"support baseline: energy per request in A is unknown ({BASELINE})" in printed
    assert f"support baseline: training energy per sample in B is unknown ({BASELINE})" in printed
    assert all(" times " not in line for line in printed.splitlines() if " baseline " in line)
    assert main(["attribute", str(results / "ledger")]) == 0
    assert capsys.readouterr().out.count("never used GPU-0") == 4


def test_a_training_with_an_idle_gpu_is_never_paid_back_by_guess(tmp_path: Path) -> None:
    found = studied(tmp_path, lambda rule, recipe: rule != "train")
    int8 = rows(found)["int8"]
    assert int8["verdict"] == "saves", "both were served on the GPU"
    assert (int8["break_even_requests"], int8["total_energy_per_request_J"]) == (None, None)
    (model,) = (m for m in found["models"] if (m["experiment"], m["recipe"]) == ("support", "int8"))
    assert model["cost_to_produce"]["missing"] == [f"train baseline: {BASELINE}"]


def test_older_ledgers_that_say_nothing_of_it_are_as_before(tmp_path: Path) -> None:
    found = studied(tmp_path, None)
    assert found["unused"] == []
    assert rows(found)["int8"]["times_less"]["low"] > 1
    used = studied(tmp_path / "used", lambda rule, recipe: True)
    assert used["unused"] == []
    assert rows(used)["int8"]["times_less"] == rows(found)["int8"]["times_less"]


@pytest.mark.parametrize(
    ("readings_B", "used"),
    [
        ([5e8] * 5, False),
        ([0.0] * 4, None),
        ([0.0, CONTEXT_B, 0.0], True),
        ([0.0, 1e6, 2e6, 1e6, 0.0], False),
        ([float("nan")] * 9, None),
        ([], None),
    ],
)
def test_what_changes_in_a_gpus_memory_says_whether_it_was_used(readings_B: list[float], used: bool | None) -> None:
    assert MemoryUse.of(readings_B).used is used
