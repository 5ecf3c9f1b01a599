"""account.json as a typed object: reading and writing it changes nothing, and any other file is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_study import GPU, GPU_GAIN, MODELLED, PARAMETERS, Simulation, config, whole_study

from greenllm.account.document import Account
from greenllm.cli import main
from greenllm.files import write_json

STORED = Path(__file__).with_name("stored") / "account.json"


@pytest.fixture
def stored() -> dict[str, Any]:
    """Return the account of a simulated study, with the packages that the stored one leaves out."""
    found: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return found | {"packages": {"python": "3.11.2"}}


def study_with_gpus(results: Path) -> Simulation:
    """Write a study in which one GPU is unused, one measurement failed, and a training was resumed."""
    study = Simulation(results, config(seeds=[1, 2]), sensors=[*MODELLED, GPU], parameters={**PARAMETERS, **GPU_GAIN})
    study.uses_gpu = lambda rule, recipe: recipe != "int8"
    study.prepare("support")
    for seed in (1, 2):
        study.train("support", "baseline", seed, 60, killed_s=10 if seed == 2 else 0)
        study.evaluate("support", "baseline", seed, 0.8)
        study.compress("support", "int8", seed)
        study.measure("support", seed, {"baseline": 20 + seed, "int8": 6}, concurrency=(1, 4))
    study.measure("support", 2, {"baseline": 22, "int8": 6}, status="failed")
    return study


@pytest.mark.parametrize("make", [whole_study, study_with_gpus])
def test_an_account_that_is_read_is_written_as_it_was(tmp_path: Path, make: Callable[[Path], Simulation]) -> None:
    study = make(tmp_path / "results")
    settings = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    out = tmp_path / "account"
    assert main(["account", "--config", settings, "--results", str(study.results), "--out", str(out)]) == 0
    write_json(tmp_path / "again.json", Account.read(out / "account.json").to_json())
    assert (tmp_path / "again.json").read_bytes() == (out / "account.json").read_bytes()


def refusal(account: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which `greenllm report` refuses an account."""
    path = folder / "account.json"
    write_json(path, account)
    assert main(["report", "--account", str(path), "--out", str(folder / "report")]) == 2
    assert not (folder / "report").exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path}: " in error
    assert "; run `greenllm account` again" in error
    return error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "greenllm/account/2"}, "expected schema 'greenllm/account/3'"),
        ({"util": "2026-01-01"}, "util: extra inputs are not permitted"),
        ({"ledgers": [{"id": "a", "path": "b", "sha256": "c"}]}, "ledgers.0.bytes: field required"),
        ({"hosts": 3}, "hosts: input should be a valid list"),
        ({"grid": None, "parameters": {"gain": {"value": 1}}}, "parameters.gain.low: field required"),
        ({"power": [{"host": "a", "segments": [], "name": "b"}]}, "power.0.name: extra inputs are not permitted"),
    ],
)
def test_another_file_is_refused_with_what_mends_it(
    tmp_path: Path, stored: dict[str, Any], capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    assert said in refusal(stored | change, tmp_path, capsys)


def test_an_energy_without_a_bound_is_refused(
    tmp_path: Path, stored: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stored["spent"]["total"]["energy_J"] = {"value": 1.0, "low": None, "high": 2.0}
    expected = "spent.total.energy_J: expected {value, low, high}, each a number;"
    assert expected in refusal(stored, tmp_path, capsys)
