"""Intervals of ratios contain the truth as often as they claim, on simulated hosts that are not calm.

`benchmarks/coverage.py` simulates more studies on more hosts; the bounds here are wide, for few studies.
"""

import math

import numpy as np
import pytest
from simulated_starts import BASELINE, Design, Host, studies, truth

from greenllm.comparison.quantity import Quantity
from greenllm.comparison.spread import Repeated
from greenllm.estimate import Estimate, Parameter
from greenllm.repetitions import needed_starts

NUMBER = 200
STEIN = Design(narrow=0.03)


@pytest.mark.parametrize("design", [Design(), STEIN], ids=["fixed", "two stages"])
@pytest.mark.parametrize(
    "host",
    [Host(), Host(drift=0.2), Host(wander=0.1), Host(drift=0.2, wander=0.05, disturbed=0.3)],
    ids=["noise", "drift", "wander", "all"],
)
def test_intervals_contain_the_truth(host: Host, design: Design) -> None:
    inside, errors = [], []
    for quantity in studies(host, design, NUMBER, seed=3):
        for server in range(1, design.servers):
            found = quantity.times_less(BASELINE, str(server))
            assert found is not None
            inside.append(found.low <= truth(server) <= found.high)
            errors.append(math.log(found.value / truth(server)))
    assert 0.91 <= np.mean(inside) <= 0.99
    assert abs(np.mean(errors)) < 0.01


def once(energy_J: float) -> Repeated:
    parameters = {"gain": Parameter(1, 0.95, 1.05, "1", "simulated")}
    return Repeated(Estimate({"gain": energy_J}, parameters), (energy_J,), (0,))


def test_a_single_start_resolves_nothing() -> None:
    quantity = Quantity({"baseline": {1: once(0.4)}, "int8": {1: once(0.1)}})
    found = quantity.times_less("baseline", "int8")
    assert found is not None
    assert found.value == pytest.approx(4)
    assert quantity.verdict("baseline", "int8") == "not resolvable"


def test_starts_that_one_server_lacks_are_left_out() -> None:
    """The second half took twice as much of both; int8 has only the first."""
    runs = [0.4, 0.41, 0.39, 0.8, 0.82, 0.78]
    parameters = {"gain": Parameter(1, 0.95, 1.05, "1", "simulated")}
    whole = Repeated(Estimate({"gain": float(np.mean(runs))}, parameters), tuple(runs), tuple(range(6)))
    part = Repeated(Estimate({"gain": 0.2}, parameters), (0.2, 0.205, 0.195), (0, 1, 2))
    found = Quantity({"baseline": {1: whole}, "int8": {1: part}}).times_less("baseline", "int8")
    assert found is not None
    assert found.value == pytest.approx(2)
    assert found.high < 2.01


def test_steins_rule_needs_more_starts_where_servers_spread_further() -> None:
    calm = np.array([[0.0, 0.01, -0.01, 0.005], [0.3, 0.301, 0.299, 0.302]])
    wild = np.array([[0.0, 0.1, -0.1, 0.05], [0.3, 0.301, 0.299, 0.302]])
    assert needed_starts(calm, 0.05, 100) == 4
    # With two servers 2 s² is the variance of their ratios, and t(0.975, 3) = 3.182.
    deviation = np.std(wild[0] - wild[1], ddof=1)
    assert needed_starts(wild, 0.05, 100) == math.ceil((3.1824 * deviation / math.log(1.05)) ** 2)
    assert needed_starts(wild, 0.05, 20) == 20
