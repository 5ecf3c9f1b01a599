"""`greenllm measure` in a job that holds a simulated GPU: each server states whether it computes there.

It is charged with the GPU if it does. PyTorch can't compute on the simulated GPU, so our server falls back to the CPU.
Another server is a stand-in that starts at once.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deploying import GREENLLM, answers_of, make_bundle, measure, rows_of, write_predictions
from hardware.simulated import SimulatedGpu, compile_nvml, gpu_environment
from tiny_models import PROMPTS

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")
STAND_IN = Path(__file__).parents[1] / "openai_stand_in.py"
SERVER = f"{sys.executable} {STAND_IN} serve {{model}} --served-model-name {{name}} --port {{port}} --alone"
# Far more than a test's host draws: an energy that includes it shows.
GPU_W = 1000.0
Measure = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def measured(tmp_path: Path, env: dict[str, str]) -> Measure:
    """Return a function that measures bundles in a job that holds the GPU, and returns the servers by name."""
    library = tmp_path / "library"
    library.mkdir()
    gpu = SimulatedGpu(low_W=GPU_W, high_W=GPU_W)
    environment = env | gpu_environment(compile_nvml(library), [gpu])
    meter = [*GREENLLM, "meter", "--gpus", "1", "--threads", "1", "--ledger", str(tmp_path / "ledger"), "--"]

    def run(*recipes: str, **options: Any) -> dict[str, dict[str, Any]]:
        done = measure(tmp_path, recipes, environment=environment, device="auto", meter=meter, **options)
        assert done.returncode == 0, done.stderr
        (tmp_path / "stderr").write_text(done.stderr)
        document = json.loads((tmp_path / "measurement.json").read_text())
        return {server["name"]: server for server in document["servers"]}

    return run


def power_W(server: dict[str, Any]) -> float:
    """Return the mean power that a server's rounds are charged with."""
    (point,) = server["points"]
    windows = [one["window"] for one in point["rounds"]]
    energy_J: float = point["energy_J"]["value"]
    return energy_J / sum(window["monotonic_end_s"] - window["monotonic_start_s"] for window in windows)


def test_a_server_that_cannot_use_the_jobs_gpu_states_none_and_is_charged_none(
    fp32: Path, tmp_path: Path, measured: Measure
) -> None:
    assert make_bundle(fp32, "baseline", tmp_path).returncode == 0
    write_predictions(tmp_path / "baseline.jsonl", rows_of(answers_of(fp32)))
    servers = measured("baseline", twin=True, round_s=0.2)
    assert {name: server["gpus"] for name, server in servers.items()} == {"baseline": 0, "baseline~twin": 0}
    assert all(0 < power_W(server) < GPU_W / 10 for server in servers.values())
    assert "computes on the CPU, and leaves its GPU idle" in (tmp_path / "stderr").read_text()
    assert servers["baseline"]["memory_reason"] is None


def test_only_servers_that_may_use_the_jobs_gpu_are_charged_with_it(
    int8: Path, tmp_path: Path, measured: Measure
) -> None:
    for recipe in ("fast", "slow"):
        assert make_bundle(int8, recipe, tmp_path).returncode == 0
        write_predictions(tmp_path / f"{recipe}.jsonl", rows_of([one.split()[-1].upper() for one in PROMPTS]))
    servers = measured("fast", "slow", server=SERVER, options=["--on-cpu", "slow"], round_s=0.5)
    assert {name: server["gpus"] for name, server in servers.items()} == {"fast": 1, "slow": 0}
    assert power_W(servers["fast"]) == pytest.approx(GPU_W, rel=0.2)
    assert 0 < power_W(servers["slow"]) < GPU_W / 10
