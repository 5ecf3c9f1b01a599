"""A plan that chooses devices, on a host with an efficient card and one that is not: earlier ledgers, plan, lease."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hardware.simulated import SimulatedGpu, compile_nvml, gpu_environment, gpu_uuid
from metering import GREENLLM, meter
from torch_stand_in import torch_of

from greenllm.attribution import attribute

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")
FAST, LEAN = "Fast card", "Lean card"
WILDCARDS = {"experiment": "support", "recipe": "baseline", "seed": "1"}
JOB = ("--rule", "train", *(word for name, value in WILDCARDS.items() for word in ("--wildcard", f"{name}={value}")))
SEES = ("sh", "-c", 'echo "sees:$CUDA_VISIBLE_DEVICES"')


@pytest.fixture
def host(tmp_path: Path, env: dict[str, str]) -> dict[str, str]:
    """The environment of a host whose first card draws ten times what its second does; PyTorch can use both.

    The jobs before a training took no time there, so that it is planned to start at once.
    """
    cards = [SimulatedGpu(name=name, low_W=W, high_W=W, idle_W=W) for name, W in ((FAST, 1000.0), (LEAN, 100.0))]
    torch = {"PYTHONPATH": str(torch_of(tmp_path / "site"))}
    host = env | gpu_environment(compile_nvml(tmp_path), cards) | torch | {"GREENLLM_METER_INTERVAL_S": "0.1"}
    for rule in ("collect", "preprocess"):
        words = ("--ledger", tmp_path / "results/ledger", "--rule", rule, "--wildcard", "experiment=support")
        assert meter(*words, "--", "sleep", "0.1", env=host).returncode == 0
    return host


def trained(tmp_path: Path, host: dict[str, str], *options: str, seconds: str = "0.5") -> None:
    """Run a job of the rule train under the meter, as a training that was done there."""
    ledger = ("--ledger", tmp_path / "results/ledger")
    done = meter(*ledger, *JOB, "--gpus", 1, *options, "--", "sleep", seconds, env=host)
    assert done.returncode == 0, done.stderr


def planned(
    tmp_path: Path, host: dict[str, str], device: str = "auto", **policy: Any
) -> subprocess.CompletedProcess[str]:
    study = {
        "results": str(tmp_path / "results"),
        "device": device,
        "experiments": {
            "support": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline"]}
        },
        "recipes": {"baseline": {"train": {}}},
        "policy": {"objective": "energy", "max_delay": "1h", **policy},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    words = ["--", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--until", "train"]
    command = [*GREENLLM, "plan", "--configfile", str(tmp_path / "study.yaml"), "--cores", "4", *words]
    return subprocess.run(command, cwd=ROOT, env=host, capture_output=True, text=True, timeout=300)


def training(tmp_path: Path) -> dict[str, Any]:
    jobs = json.loads((tmp_path / "results/plan/plan.json").read_text())["jobs"]
    (found,) = (job for job in jobs if job["rule"] == "train")
    return dict(found)


def as_planned(tmp_path: Path, host: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Run the training as the plan has it; return what it sees of the GPUs, and its energy log."""
    plan, log = tmp_path / "results/plan/plan.json", tmp_path / "log.json"
    words = ("--ledger", tmp_path / "results/ledger", "--plan", plan, "--out", log)
    done = meter(*words, *JOB, "--gpus", 1, "--", *SEES, env=host)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), json.loads(log.read_text())


def test_a_training_runs_on_the_card_on_which_earlier_ones_took_less(tmp_path: Path, host: dict[str, str]) -> None:
    for model in (FAST, LEAN):
        trained(tmp_path, host, "--gpu-model", model)
    done = planned(tmp_path, host, devices=[FAST, LEAN])
    assert done.returncode == 0, done.stderr
    job = training(tmp_path)
    assert (job["device"], job["device_at_once"]) == (LEAN, FAST)
    assert job["energy_J"]["value"] < job["energy_at_once_J"]["value"] / 4
    assert f"1 jobs run on another device: train support/baseline/1 on {LEAN} instead of {FAST}" in done.stdout
    seen, log = as_planned(tmp_path, host)
    assert seen == "sees:1"
    assert log["gpus"] == [{"uuid": gpu_uuid(1), "index": 1, "name": LEAN}]
    assert log["planned_device"] == LEAN
    # What it took is the energy of that card alone.
    last = max(attribute(tmp_path / "results/ledger").jobs, key=lambda one: one.started)
    assert [part.device for part in last.components if part.component == "gpu"] == [gpu_uuid(1)]


def test_a_training_runs_on_the_processors_where_that_takes_less(tmp_path: Path, host: dict[str, str]) -> None:
    trained(tmp_path, host, "--gpu-model", FAST, seconds="1")
    trained(tmp_path, host, "--device", "cpu")
    assert planned(tmp_path, host, devices=["cpu"]).returncode == 0
    assert training(tmp_path)["device"] == "cpu"
    seen, log = as_planned(tmp_path, host)
    assert seen == "sees:"
    assert (log["gpus"], log["planned_device"]) == ([], "cpu")
    # `device: require` refuses the processors.
    done = planned(tmp_path, host, device="require", devices=["cpu"])
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("device is require; leave one of them out")
    assert planned(tmp_path, host, device="require", devices=True).returncode == 0
    assert training(tmp_path)["device"] is None


def test_without_earlier_runs_and_by_default_it_stays(tmp_path: Path, host: dict[str, str]) -> None:
    trained(tmp_path, host, "--gpu-model", FAST)
    done = planned(tmp_path, host, devices=True)
    assert f"1 jobs stay where they are: no earlier run on cpu, {LEAN}." in done.stdout
    assert training(tmp_path)["device"] is None
    trained(tmp_path, host, "--gpu-model", LEAN)
    assert planned(tmp_path, host).returncode == 0
    assert training(tmp_path)["device"] is None
    assert as_planned(tmp_path, host)[0] == "sees:0"


def test_a_device_that_is_not_there_is_refused_in_one_line(tmp_path: Path, host: dict[str, str]) -> None:
    done = planned(tmp_path, host, devices=["Big card"])
    assert done.returncode == 2
    assert "policy.devices: Big card: no such device on" in done.stderr
    assert f"there are: cpu, {FAST}, {LEAN}" in done.stderr
    assert "Traceback" not in done.stderr
    for model in (FAST, LEAN):
        trained(tmp_path, host, "--gpu-model", model)
    assert planned(tmp_path, host, devices=True).returncode == 0
    plan = tmp_path / "results/plan/plan.json"
    gone = host | {"CUDA_VISIBLE_DEVICES": "0"}
    refused = meter("--ledger", tmp_path / "ledger", "--plan", plan, *JOB, "--gpus", 1, "--", "true", env=gone)
    assert refused.returncode == 2
    assert (
        refused.stderr.strip()
        .splitlines()[-1]
        .endswith("the plan was made for another host: run `greenllm plan` again")
    )
