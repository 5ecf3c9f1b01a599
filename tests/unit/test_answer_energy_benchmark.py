"""`benchmarks/answer_energy.py` and `answer_energy_alone.py`: the verdict, and what they refuse."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks/answer_energy.py"


@pytest.mark.parametrize(
    ("cost_percent", "half_percent", "verdict"),
    [
        (0.4, 0.5, "met"),
        (-3, 0.5, "met"),
        (0.4, 0.7, "not resolvable"),
        (5, 10, "not resolvable"),
        (2, 0.9, "MISSED"),
        (0, float("inf"), "not resolvable"),
    ],
)
def test_a_target_is_met_or_missed_by_the_whole_interval(
    cost_percent: float, half_percent: float, verdict: str
) -> None:
    spec = importlib.util.spec_from_file_location("answer_energy", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    assert benchmark.verdict_of(cost_percent, half_percent) == verdict


@pytest.mark.parametrize(("name", "pairs", "least"), [("answer_energy", 0, 1), ("answer_energy_alone", 5, 10)])
def test_too_few_pairs_are_refused_in_one_line(name: str, pairs: int, least: int) -> None:
    command = [sys.executable, str(BENCHMARK.with_name(f"{name}.py")), "--pairs", str(pairs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"--pairs {pairs}: expected at least {least}" in done.stderr.splitlines()[-1]
