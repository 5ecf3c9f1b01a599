"""`benchmarks/engines.py` on a tiny model, with a stand-in for llama.cpp's server."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hardware.simulated import clean_environment
from tiny_models import make_fp32

from greenllm.load.rounds import Answered

BENCHMARK = Path(__file__).parents[2] / "benchmarks/engines.py"
STAND_IN = Path(__file__).parents[1] / "openai_stand_in.py"
SHORT = ["--threads", "1", "--starts", "2", "--rounds", "2", "--requests", "2", "--words", "4", "--max-tokens", "4"]


def python_with_llama_cpp(folder: Path) -> Path:
    """Write an executable like a Python that has llama-cpp-python, whose server is the stand-in."""
    script = folder / "python"
    serve = f"{sys.executable} {STAND_IN} serve {folder} --served-model-name model --alone --port"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\nfor last; do :; done\nexec {serve} "$last"\n')
    script.chmod(0o755)
    return script


def test_servers_are_compared_and_one_that_takes_less_than_ours_is_named(tmp_path: Path) -> None:
    model, gguf, out = make_fp32(tmp_path / "model"), tmp_path / "model.gguf", tmp_path / "out"
    gguf.touch()
    command = [sys.executable, str(BENCHMARK), "--model", str(model), "--gguf", str(gguf), "--out", str(out), *SHORT]
    command += ["--llama-cpp", str(python_with_llama_cpp(tmp_path))]
    command += ["--only", "ONNX Runtime int8", "llama.cpp Q4_1"]
    environment = clean_environment(tmp_path, OMP_NUM_THREADS="1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    # The stand-in computes nothing: its processor time may even be 0.
    said = re.search(r"times less than llama\.cpp Q4_1 \(target 2\): (MISSED|not resolvable|unknown)", done.stdout)
    assert said, done.stderr
    assert done.returncode == (1 if said[1] == "MISSED" else 0)
    assert "Less processor time than our int8 and int4: llama.cpp Q4_1" in done.stdout
    rows = {row["engine"]: row for row in json.loads((out / "engines.json").read_text())["rows"]}
    assert rows.keys() == {"ONNX Runtime int8", "llama.cpp Q4_1"}
    for row in rows.values():
        assert len(row["starts"]) == 2
        assert all(start["energy_J"] > 0 and start["cpu_s"] >= 0 for start in row["starts"])
        assert row["texts"]
        assert row["quality"] in ("measured", "modelled", "partly modelled")
        assert f"({row['quality']})" in done.stdout
    assert all(start["cpu_s"] > 0 for start in rows["ONNX Runtime int8"]["starts"])


@pytest.fixture(scope="module")
def engines() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engines_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses are looked up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("cpu_s", "verdict"),
    [
        ([2.4, 2.4, 2.5], "met"),
        ([1.5, 1.6, 1.5], "MISSED"),
        ([1.7, 2.7, 2.4], "not resolvable"),  # 2.2 times less in the mean
        ([3.0], "not resolvable"),
        ([0.0, 3.0], "unknown"),
    ],
)
def test_the_target_is_judged_by_the_whole_interval(engines: ModuleType, cpu_s: Sequence[float], verdict: str) -> None:
    theirs = engines.Row("theirs", 1, [engines.Start(None, one) for one in cpu_s], 16.0, {})
    ours = engines.Row("ours", 1, [engines.Start(None, 1.0) for _ in cpu_s], 16.0, {})
    assert engines.verdict(engines.times_less(ours, theirs, "cpu_s")) == verdict


@pytest.mark.parametrize(("energy_J", "threads"), [(5.0, 1), (None, 2)])
def test_threads_are_chosen_by_energy_only_where_that_of_all_is_known(
    engines: ModuleType, energy_J: float | None, threads: int
) -> None:
    one = engines.Row("ours", 1, [engines.Start(0.5, 3.0)], 16.0, {})
    two = engines.Row("ours", 2, [engines.Start(energy_J, 1.0)], 16.0, {})
    assert engines.cheapest([one, two]).threads == threads


def test_tokens_that_a_server_does_not_count_are_unknown(engines: ModuleType) -> None:
    counted, limited = Answered("1", tokens=3), Answered("2", finish_reason="length")
    assert engines.mean_tokens([counted, limited], 5) == 4
    assert engines.mean_tokens([counted, Answered("3", finish_reason="stop")], 5) is None


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "--model", str(tmp_path), "--gguf", str(tmp_path / "none.gguf")]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"--gguf {tmp_path}/none.gguf: no such file")
    assert not (tmp_path / "out").exists()
