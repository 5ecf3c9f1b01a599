"""When a measurement ends, and how precise its result is: on rounds of known length and energy."""

import math
import random
from collections.abc import Sequence

import pytest

from greenllm.attribution import Estimate, Parameter
from greenllm.config.models import Deployment
from greenllm.documents.measurement import MeasurementWindow, Throughput
from greenllm.errors import UserError
from greenllm.load.measurement import described, measure_point
from greenllm.load.rounds import Answered, Order, Round
from greenllm.statistics import relative_halfwidth

GAIN = {"gain": Parameter(1.0, 0.9, 1.1, "J/J", "test")}


class Simulated:
    """Rounds of a second, whose requests take one joule each, with a relative spread of `spread`."""

    def __init__(self, spread: float, error: str | None = None) -> None:
        self.orders: list[Order] = []
        self._spread, self._error = spread, error

    def send(self, order: Order) -> Round:
        self.orders.append(order)
        start_s = float(len(self.orders))
        window = MeasurementWindow("", "", start_s, start_s + 1, "")
        return Round(window, [Answered(str(i), tokens=2, error=self._error) for i in range(order.requests)])

    def energies(self, windows: Sequence[MeasurementWindow]) -> list[Estimate | None]:
        chance = random.Random(1)
        return [Estimate({"gain": 100 * (1 + chance.gauss(0, self._spread))}, GAIN) for _ in windows]


@pytest.fixture
def settings() -> Deployment:
    return Deployment(requests=1000, rounds=10, narrow=0.02, most_s=30)


def test_narrow_rounds_end_at_the_least_number_and_send_each_prompt_in_turn(settings: Deployment) -> None:
    simulated = Simulated(0.01)
    point = measure_point(simulated.send, settings, 8, simulated.energies)
    assert (point.stopped, len(point.rounds)) == ("narrow", 10)
    assert [order.start for order in simulated.orders] == list(range(0, 1000, 100))
    assert {(order.requests, order.concurrency, order.least_s) for order in simulated.orders} == {(100, 8, 1.0)}


def test_wider_rounds_go_on_until_they_are_narrow_or_the_limit_is_reached(settings: Deployment) -> None:
    for spread, stopped in ((0.04, "narrow"), (0.5, "limit")):
        simulated = Simulated(spread)
        point = measure_point(simulated.send, settings, 1, simulated.energies)
        assert point.stopped == stopped
        assert 10 < len(point.rounds) <= 30
        assert (len(point.rounds) == 30) == (stopped == "limit")


def test_without_energy_the_time_of_a_request_must_be_known(settings: Deployment) -> None:
    simulated = Simulated(0)  # all rounds are as long and as busy
    point = measure_point(simulated.send, settings, 1, lambda windows: [None] * len(windows))
    assert point.stopped == "narrow"
    figures = described(point, None, [None] * 10)
    assert figures.energy_J is figures.energy_per_request_J is None
    assert figures.throughput == Throughput(requests_per_s=100, tokens_per_s=200)


def test_the_sensors_uncertainty_and_the_spread_between_rounds_add_in_quadrature(settings: Deployment) -> None:
    simulated = Simulated(0.04)
    point = measure_point(simulated.send, settings, 1, simulated.energies)
    energies = simulated.energies([round.window for round in point.rounds])
    per = described(point, None, energies).energy_per_request_J
    assert per is not None
    between = relative_halfwidth([energy.value for energy in energies if energy])
    assert per.value - per.low == pytest.approx(per.value * math.hypot(0.1, between))
    assert per.high - per.value == pytest.approx(per.value * math.hypot(0.1, between))


def test_no_energy_is_below_zero() -> None:
    simulated = Simulated(0)
    point = measure_point(simulated.send, Deployment(requests=20, rounds=2, most_s=1), 1, simulated.energies)
    energies = [Estimate({"gain": amount}, GAIN) for amount in (10.0, 190.0)]
    per = described(point, None, energies).energy_per_request_J
    assert per is not None
    assert (per.low, per.value) == (0, 10)
    assert per.high > 20


def test_a_first_round_without_an_answer_ends_it(settings: Deployment) -> None:
    simulated = Simulated(0, error="HTTP 401: no key")
    with pytest.raises(UserError, match="none of 100 requests was answered; the first: HTTP 401: no key"):
        measure_point(simulated.send, settings, 1, simulated.energies)


def test_the_halfwidth_is_that_of_the_t_interval() -> None:
    assert relative_halfwidth([1, 2, 3]) == pytest.approx(
        4.30265 / math.sqrt(3) / 2, rel=1e-5
    )  # t of 2 degrees, 97.5 %
    assert relative_halfwidth([5]) == math.inf
