import json
from pathlib import Path
from typing import Any

import pytest
from simulated_study import Simulation, config

from greenllm.cli import main


def studied(results: Path, host: str, seconds: float, training_s: float = 60, **sections: Any) -> Path:
    """Write a study of one experiment as it ran on a host, with its account; return its folder."""
    sections.setdefault("experiments", experiment())
    study = Simulation(results, config(**sections), host=host)
    study.prepare("support")
    study.train("support", "baseline", 1, training_s)
    study.evaluate("support", "baseline", 1, 0.9, 50)
    study.measure("support", 1, {"baseline": seconds})
    settings = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    return results


def experiment(**keys: Any) -> dict[str, Any]:
    own = {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline"], "seeds": [1]}
    return {"support": own | keys}


def compared(capsys: pytest.CaptureFixture[str], *folders: Path) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["compare", *map(str, folders), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def row(found: dict[str, Any], quantity: str) -> dict[str, Any]:
    return next(row for row in found["rows"] if row["quantity"] == quantity)


def test_one_hosts_sensor_error_cancels_and_two_hosts_errors_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = studied(tmp_path / "here", "node1", 20)
    again, there = studied(tmp_path / "again", "node1", 16), studied(tmp_path / "there", "node2", 16)
    same = row(compared(capsys, here, again), "energy per request")
    other = row(compared(capsys, here, there), "energy per request")
    assert same["times_less"][1]["value"] == pytest.approx(20 / 16, rel=0.01)
    assert other["times_less"][1]["value"] == pytest.approx(20 / 16, rel=0.01)
    assert same["verdict"] == ["first", "saves"]
    assert other["verdict"] == ["first", "not resolvable"], "how far the two hosts' models err is not known"
    # each host's figure may be off by about a third
    assert other["times_less"][1]["low"] < 0.9


def test_a_difference_beyond_both_hosts_errors_is_resolved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = studied(tmp_path / "a", "node1", 30, 120), studied(tmp_path / "b", "node2", 6, 24)
    found = compared(capsys, here, there)
    assert [one["hosts"] for one in found["results"]] == [["node1"], ["node2"]]
    assert found["results"][0]["devices"][0] == "cpu 2 cores (cpu-model, modelled)"
    assert row(found, "energy per request")["verdict"] == ["first", "saves"]
    training = row(found, "training energy per sample")
    assert training["times_less"][1]["value"] == pytest.approx(5, rel=0.01)
    assert training["measured_once"]
    assert not row(found, "energy per request")["measured_once"]
    assert main(["compare", str(there), str(here)]) == 0
    said = capsys.readouterr().out
    assert "times more" in said
    assert f"A  {there}: node2;" in said
    assert "* measured once on at least one" in said


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"experiments": experiment(data={"source": "embedded", "rows": 500})}, "support.data.rows is 500, but 12000"),
        ({"train": {"epochs": 3}}, "recipes.baseline.train.epochs is 3.0, but 8"),
        ({"deploy": {"concurrency": [4]}}, "experiments.support.deploy.concurrency is [4], but [1]"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any], message: str
) -> None:
    here, there = studied(tmp_path / "a", "node1", 5), studied(tmp_path / "b", "node2", 5, **other)
    assert main(["compare", str(here), str(there)]) == 2
    assert message in capsys.readouterr().err


def test_one_folder_is_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path)]) == 2
    assert "expected two results folders or more" in capsys.readouterr().err
