"""Which number of threads a server has, on probes whose times and energies are known."""

from collections.abc import Mapping, Sequence

import pytest

from greenllm.config.models import Deployment
from greenllm.documents.measurement import MeasurementWindow
from greenllm.estimate import Estimate, Parameter
from greenllm.load.thread_choice import choose, without_probe
from greenllm.load.thread_probe import PASSES, LONGEST_s, ProbedRound, ProbeOrder, candidates, probe

GAIN = {"gain": Parameter(1.0, 0.9, 1.1, "J/J", "test")}


class Simulated:
    """An engine whose requests take `per_request_s` (by threads); it records its orders."""

    def __init__(self, per_request_s: Mapping[int, float]) -> None:
        self.orders: list[ProbeOrder] = []
        self._per_request_s, self._clock_s = per_request_s, 0.0

    def answer(self, order: ProbeOrder) -> ProbedRound:
        self.orders.append(order)
        each_s, answered = self._per_request_s[order.threads], order.requests
        while answered * each_s < order.least_s:
            answered += order.requests
        start_s, self._clock_s = self._clock_s, self._clock_s + answered * each_s
        window = MeasurementWindow("", "", start_s, self._clock_s, "")
        return ProbedRound(order, window, answered, answered * each_s * order.threads)


def rounds_of(per_request_s: Mapping[int, float], together: int = 1, seed: int = 1) -> list[ProbedRound]:
    simulated = Simulated(per_request_s)
    return probe(simulated.answer, sorted(per_request_s), together=together, seed=seed, at_edge=lambda: None)


def energies_of(rounds: Sequence[ProbedRound], per_request_J: Mapping[int, Sequence[float]]) -> list[Estimate | None]:
    """Return the rounds' energies; those of a number of threads differ from pass to pass."""
    left = {number: iter(values) for number, values in per_request_J.items()}
    return [Estimate({"gain": next(left[one.order.threads]) * one.answered}, GAIN) for one in rounds]


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_and_the_whole_reservation_are_probed(most: int, expected: list[int]) -> None:
    assert candidates(most) == expected


def test_each_pass_answers_the_same_prompts_with_each_number_in_an_order_of_the_seed() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.006, 4: 0.005})
    assert len(rounds) == 3 * PASSES
    passes = [rounds[first : first + 3] for first in range(0, len(rounds), 3)]
    for one in passes:
        assert sorted(round.order.threads for round in one) == [1, 2, 4]
        assert len({(round.order.start, round.order.requests, round.answered) for round in one}) == 1
        assert min(round.window.duration_s for round in one) > 0.2
    orders = [[round.order.threads for round in one] for one in passes]
    assert len({tuple(one) for one in orders}) > 1
    again, other = (rounds_of({1: 0.01, 2: 0.006, 4: 0.005}, seed=seed) for seed in (1, 2))
    assert [round.order for round in again] == [round.order for round in rounds]
    assert [round.order for round in other] != [round.order for round in rounds]


def test_sensors_are_read_at_the_edges_of_each_round_after_a_batch_that_does_not_count() -> None:
    simulated = Simulated({1: 0.1, 2: 0.1})
    edges: list[int] = []
    rounds = probe(simulated.answer, [1, 2], together=2, seed=1, at_edge=lambda: edges.append(len(simulated.orders)))
    before, after = edges[::2], edges[1::2]
    assert [simulated.orders[index] for index in before] == [round.order for round in rounds]
    assert [index + 1 for index in before] == after
    warm_ups = [simulated.orders[index - 1] for index in before]
    assert [(order.threads, order.requests) for order in warm_ups] == [(round.order.threads, 2) for round in rounds]


def test_numbers_that_take_far_too_long_are_not_probed() -> None:
    slow = {1: 8 * LONGEST_s, 2: 4 * LONGEST_s, 4: 2.0 * LONGEST_s, 8: LONGEST_s / 2}
    assert {round.order.threads for round in rounds_of(slow)} == {4, 8}


def test_the_least_energy_per_request_is_chosen_and_the_curve_is_recorded() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.006})
    choice = choose(rounds, energies_of(rounds, {1: [1.0, 1.1, 1.0, 1.1, 1.0], 2: [0.8, 0.9, 0.8, 0.9, 0.8]}), None)
    assert (choice.threads, choice.reason) == (2, "least energy per request of 1 and 2 threads")
    one, two = choice.probed
    assert (one.threads, one.rounds, two.threads, two.rounds) == (1, PASSES, 2, PASSES)
    assert (one.time_per_request_s, two.time_per_request_s) == (pytest.approx(0.01), pytest.approx(0.006))
    assert (one.cpu_s_per_request, two.cpu_s_per_request) == (pytest.approx(0.01), pytest.approx(0.012))
    assert one.energy_per_request_J is not None
    assert one.energy_per_request_J.value == pytest.approx(1.04)
    assert one.energy_per_request_J.low < 0.936  # the spread between rounds, in addition to the gain's 10 %
    assert one.energy_per_request_J.high > 1.144


def test_a_difference_within_the_noise_is_named() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.006})
    energies = energies_of(rounds, {1: [1.0, 1.2, 1.0, 1.2, 1.0], 2: [1.1, 0.9, 1.1, 0.9, 1.1]})
    choice = choose(rounds, energies, None)
    assert choice.threads == 2
    assert choice.reason == ("least energy per request of 1 and 2 threads; that of 1 thread is not resolvably larger")


def test_what_both_numbers_have_in_common_is_no_noise() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.006})
    slower = [1.0, 3.0, 1.5, 2.5, 2.0]  # a host that is disturbed: its passes differ by much more than the numbers
    with_both = energies_of(rounds, {1: [1.1 * value for value in slower], 2: slower})
    assert choose(rounds, with_both, None).threads == 2


def test_only_numbers_within_the_latency_are_chosen_from() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.006, 4: 0.004})
    energies = energies_of(rounds, {1: [1.0] * 5, 2: [2.0] * 5, 4: [3.0] * 5})
    choice = choose(rounds, energies, 0.007)
    assert choice.threads == 2
    assert "2 and 4 threads, which answer within deploy.latency_s, 0.007 s" in choice.reason
    none = choose(rounds, energies, 0.001)
    assert none.threads == 4
    assert none.reason == "fastest of 1, 2 and 4 threads: none answers within deploy.latency_s, 0.001 s"


def test_the_latency_of_a_batch_is_that_of_each_request_in_it() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.004}, together=4)
    choice = choose(rounds, energies_of(rounds, {1: [1.0] * 5, 2: [2.0] * 5}), 0.02)
    assert [row.time_per_request_s for row in choice.probed] == [pytest.approx(0.04), pytest.approx(0.016)]
    assert choice.threads == 2


def test_processor_time_decides_where_an_energy_is_unknown() -> None:
    rounds = rounds_of({1: 0.01, 2: 0.006})
    energies = energies_of(rounds, {1: [2.0] * 5, 2: [1.0] * 5})
    choice = choose(rounds, [None, *energies[1:]], None)
    assert (choice.threads, choice.reason) == (
        1,
        "least processor time per request of 1 and 2 threads; the energy is unknown",
    )
    assert [row.energy_per_request_J is None for row in choice.probed].count(True) == 1


def test_one_number_is_chosen_whatever_it_takes() -> None:
    rounds = rounds_of({8: 30.0})
    assert choose(rounds, energies_of(rounds, {8: [1.0] * 5}), None).threads == 8


def test_where_nothing_is_to_be_probed_the_reason_says_why() -> None:
    auto = Deployment()
    assert without_probe(auto, "transformers", 4) is None
    alone = without_probe(auto, "transformers", 1)
    assert alone is not None
    assert (alone.threads, alone.reason) == (1, "only one is reserved")
    for settings, engine, threads, reason in (
        (Deployment(threads=2), "transformers", 2, "deploy.threads"),
        (Deployment(threads=8), "transformers", 4, "deploy.threads is 8, but only 4 are reserved"),
        (Deployment(server="vllm serve {model}"), "transformers", 4, "deploy.server"),
        (auto, "openai-endpoint", 4, "openai-endpoint"),
        (auto, "classifier-tensorflow", 4, "classifier-tensorflow"),
    ):
        choice = without_probe(settings, engine, 4)  # type: ignore[arg-type]
        assert choice is not None
        assert choice.threads == threads
        assert reason in choice.reason
