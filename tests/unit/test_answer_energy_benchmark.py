"""The verdict of `benchmarks/answer_energy.py`."""

import importlib.util
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
