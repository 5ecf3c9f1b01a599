"""`benchmarks/engines.py` on a tiny model, with a stand-in for llama.cpp's server."""

import json
import subprocess
import sys
from pathlib import Path

from hardware.simulated import clean_environment
from tiny_models import make_fp32

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
    assert done.returncode == 1, done.stderr  # the stand-in computes nothing
    assert "MISSED" in done.stdout
    assert "Less processor time than our int8 and int4: llama.cpp Q4_1" in done.stdout
    rows = {row["engine"]: row for row in json.loads((out / "engines.json").read_text())["rows"]}
    assert rows.keys() == {"ONNX Runtime int8", "llama.cpp Q4_1"}
    for row in rows.values():
        assert len(row["starts"]) == 2
        assert all(start["energy_J"] > 0 and start["cpu_s"] >= 0 for start in row["starts"])
        assert row["texts"]
    assert all(start["cpu_s"] > 0 for start in rows["ONNX Runtime int8"]["starts"])


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "--model", str(tmp_path), "--gguf", str(tmp_path / "none.gguf")]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"--gguf {tmp_path}/none.gguf: no such file")
    assert not (tmp_path / "out").exists()
