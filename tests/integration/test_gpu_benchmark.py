"""`benchmarks/gpu.py`, rehearsed: its meter reads a simulated card, its network computes on the CPU."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hardware.simulated import SimulatedGpu, clean_environment, compile_nvml, gpu_environment

BENCHMARK = Path(__file__).parents[2] / "benchmarks/gpu.py"
RENEWED_S = 0.1  # between two renewals of the counter
CARD = SimulatedGpu(name="Simulated H100", tick_s=RENEWED_S, refresh_s=RENEWED_S, window_s=0.025)
# What it may need where PyTorch with CUDA and transformers are, beside the standard library.
MAY_NEED = {"annotated_types", "numpy", "pydantic", "pydantic_core", "pynvml", "typing_extensions", "typing_inspection"}

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")


@pytest.fixture(scope="module")
def with_card(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a host with a simulated card."""
    folder = tmp_path_factory.mktemp("card")
    card = gpu_environment(compile_nvml(folder), [CARD])
    return clean_environment(folder, **card, OMP_NUM_THREADS="1")


def benchmark(environment: Mapping[str, str], *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARK), *map(str, options)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def records(out: Path, kind: str) -> list[dict[str, Any]]:
    return [one for one in json.loads((out / "gpu.json").read_text())["records"] if one["kind"] == kind]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, with_card: dict[str, str]) -> Path:
    """The folder of a rehearsal."""
    out = tmp_path_factory.mktemp("rehearsal") / "out"
    done = benchmark(with_card, "--rehearse", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == (out / "gpu.md").read_text().strip()
    return out


def test_the_meter_agrees_with_the_cards_counter_and_readings_of_its_power_do_not(rehearsal: Path) -> None:
    agreements = records(rehearsal, "agreement")
    assert len(agreements) == 4
    for one in agreements:
        assert one["method"] == "nvml-energy-counter"
        assert one["meter_J"] == pytest.approx(one["counter_J"], rel=0.01)
        assert one["meter_low_J"] < one["counter_J"] < one["meter_high_J"]
        assert one["counter_renewed_s"] == pytest.approx(RENEWED_S, abs=0.02)
        assert None not in (one["mean_power_J"], one["instant_power_J"], one["corrected_J"])


def test_every_setting_has_the_energy_of_its_tokens(rehearsal: Path) -> None:
    windows = records(rehearsal, "window")
    settings = {"batch 1", "batch 4", "bf16, batch 1", "bf16, batch 4", "all weights", "LoRA"}
    assert {one["setting"] for one in windows} >= settings
    for one in windows:
        assert one["tokens"] > 0
        # What the card draws at least and at most. A reading of its counter is up to a renewal old.
        least_s, most_s = one["seconds"] - RENEWED_S, one["seconds"] + RENEWED_S
        assert CARD.low_W * least_s < one["energy_J"] < CARD.high_W * most_s


def test_what_cannot_be_had_is_named_with_its_reason(rehearsal: Path) -> None:
    missing = {one["setting"]: one["reason"] for one in records(rehearsal, "missing")}
    assert "int4" in missing  # its kernel needs a GPU
    if importlib.util.find_spec("torchao") is None:
        assert missing["int8"].startswith("torchao is not installed")


def test_a_rehearsal_says_that_it_is_one(rehearsal: Path) -> None:
    assert json.loads((rehearsal / "gpu.json").read_text())["rehearsed"] is True
    assert "these figures mean nothing" in (rehearsal / "gpu.md").read_text()


def test_nothing_but_the_named_packages_is_needed_before_torch() -> None:
    """The parts import torch and transformers, and optional packages where they are needed."""
    script = (
        "import runpy, sys; before = set(sys.modules); sys.argv = ['gpu.py', '--help']\n"
        f"sys.path.insert(0, {str(BENCHMARK.parent)!r})\n"
        f"runpy.run_path({str(BENCHMARK)!r}); import gpu_parts.metered, gpu_parts.card_reader\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if not name.startswith("_")} <= MAY_NEED | {"greenllm", "gpu_parts"}


def test_a_part_that_fails_does_not_cost_the_others(tmp_path: Path, with_card: dict[str, str]) -> None:
    broken = tmp_path / "broken/transformers.py"
    broken.parent.mkdir()
    broken.write_text("raise RuntimeError('it does not fit this driver')\n")
    environment = with_card | {"PYTHONPATH": str(broken.parent)}
    done = benchmark(environment, "--rehearse", "--only", "meter", "batches", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert len(records(tmp_path / "out", "agreement")) == 4
    (missing,) = records(tmp_path / "out", "missing")
    assert missing["part"] == "batches"
    assert "it does not fit this driver" in missing["reason"]


def test_a_part_without_time_is_not_run(tmp_path: Path, with_card: dict[str, str]) -> None:
    done = benchmark(with_card, "--rehearse", "--only", "meter", "--minutes", 1, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "| meter | all | not run: no time was left |" in done.stdout


@pytest.mark.parametrize(
    ("options", "hidden", "message"),
    [
        (["--minutes", "0.5"], False, "--minutes 0.5: expected at least 1"),
        (["--out", str(BENCHMARK.parent)], False, "is no empty folder; name a new folder"),
        ([], True, "NVML finds no GPU that may be used here"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    tmp_path: Path, with_card: dict[str, str], options: list[str], hidden: bool, message: str
) -> None:
    environment = with_card | ({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})
    done = benchmark(environment, "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
