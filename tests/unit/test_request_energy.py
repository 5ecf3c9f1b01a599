"""A server's energy is shared among its requests and idle time, whatever the order of batches and samples."""

import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from hardware.simulated import PowercapTree, clean_environment, proc_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowing import known
from prometheus_client import CollectorRegistry

from greenllm.engines import Completion
from greenllm.estimate import Interval
from greenllm.meter.own_energy import EnergyGrowth
from greenllm.serving import energy_sampling
from greenllm.serving.energy_sampling import STOPPED, EnergySampling
from greenllm.serving.metrics import EnergyMetrics
from greenllm.serving.request_energy import EnergySharing, RequestEnergy, SharedInterval
from greenllm.serving.token_costs import GENERATED_TO_PROMPT, IntervalWork, TokenCosts, found_costs

Batches = list[tuple[float, float, list[tuple[int, int]]]]  # idle s before, s, tokens of each request
SECONDS = st.floats(0.0, 3.0)
TOKENS = st.tuples(st.integers(0, 500), st.integers(0, 200))
BATCHES = st.lists(st.tuples(SECONDS, SECONDS, st.lists(TOKENS, min_size=1, max_size=8)), max_size=12)
COSTS = st.sampled_from([TokenCosts(), TokenCosts(0.1, 0.7, 12.0), TokenCosts(0.0, 0.7, 0.0)])


def growth(begin_s: float, end_s: float, energy_J: float | None) -> EnergyGrowth:
    known = None if energy_J is None else Interval(energy_J, 0.9 * energy_J, 1.2 * energy_J)
    reason = "cpu: closed" if energy_J is None else None
    return EnergyGrowth(begin_s, end_s, known, {"cpu": energy_J or 0.0}, {"cpu": energy_J or 0.0}, "measured", reason)


def run(sharing: EnergySharing, batches: Batches, samples: list[EnergyGrowth]) -> list[list[RequestEnergy]]:
    """Feed batches (idle time before, duration, tokens of each request) and samples to it, in the order of time."""
    now_s = 0.0
    events: list[tuple[float, Callable[[], None]]] = []
    answered: list[list[RequestEnergy]] = []
    for idle_s, duration_s, tokens in batches:
        requests = [RequestEnergy(prompt, generated) for prompt, generated in tokens]
        begin_s, now_s = now_s + idle_s, now_s + idle_s + duration_s
        answered.append(requests)
        events.append((begin_s, partial(sharing.begin_batch, begin_s)))
        events.append((now_s, partial(sharing.end_batch, now_s, requests)))
    # Sorting is stable: a batch that ends when the next one begins ends first.
    events += [(one.end_s, partial(sharing.add, one)) for one in samples]
    for _, happen in sorted(events, key=lambda event: event[0]):
        happen()
    return answered


@settings(deadline=None)
@given(BATCHES, st.lists(st.tuples(st.floats(0.05, 2.0), st.floats(0.0, 300.0)), min_size=1, max_size=20), COSTS)
def test_requests_and_idle_are_what_was_counted(
    batches: Batches, spans: list[tuple[float, float]], costs: TokenCosts
) -> None:
    end_s = sum(idle_s + duration_s for idle_s, duration_s, _ in batches)
    spans = [*spans, (end_s + 1, 50.0)]  # the last sample comes after the last batch
    edges = list(itertools.accumulate((span_s for span_s, _ in spans), initial=0.0))
    samples = [
        growth(a, b, power * (b - a)) for (a, b), (_, power) in zip(itertools.pairwise(edges), spans, strict=True)
    ]
    shared: list[SharedInterval] = []
    sharing = EnergySharing(shared.append, costs=costs)
    requests = [one for batch in run(sharing, batches, samples) for one in batch]
    counted_J = math.fsum(known(one.energy_J).value for one in samples)
    requests_J = math.fsum(known(one.energy_J).value for one in requests)
    assert all(one.is_settled and known(one.energy_J).value >= 0 for one in requests)
    assert all(known(one.energy_J).low <= known(one.energy_J).value <= known(one.energy_J).high for one in requests)
    assert len(shared) == len(samples)
    assert requests_J == pytest.approx(sharing.requests_J, rel=1e-6, abs=1e-9)
    assert requests_J + sharing.idle_J == pytest.approx(counted_J, rel=1e-6)


@settings(deadline=None)
@given(BATCHES, st.floats(0.05, 2.0))
def test_at_constant_power_a_batch_gets_its_time_and_a_request_its_tokens(batches: Batches, interval_s: float) -> None:
    end_s = sum(idle_s + duration_s for idle_s, duration_s, _ in batches)
    edges = [n * interval_s for n in range(2 + math.ceil(end_s / interval_s))]
    samples = [growth(a, b, 30.0 * (b - a)) for a, b in itertools.pairwise(edges)]
    answered = run(EnergySharing(), batches, samples)
    for (_, duration_s, tokens), requests in zip(batches, answered, strict=True):
        work = [prompt + GENERATED_TO_PROMPT * generated for prompt, generated in tokens]
        parts = [one / sum(work) for one in work] if sum(work) else [1 / len(work)] * len(work)
        for part, request in zip(parts, requests, strict=True):
            assert known(request.energy_J).value == pytest.approx(30.0 * duration_s * part, rel=1e-6, abs=1e-6)


def test_an_answer_has_a_provisional_energy_by_the_latest_power_until_its_interval_is_over() -> None:
    sharing = EnergySharing()
    early = RequestEnergy(10, 10)
    sharing.begin_batch(0.2)
    sharing.end_batch(0.5, [early])
    assert (early.energy_J, early.is_settled) == (None, False)
    assert early.reason == "the first sampling interval is not over"
    sharing.add(growth(0, 1, 20.0))
    assert known(early.energy_J).value == pytest.approx(6.0)
    assert early.is_settled
    one, other = RequestEnergy(10, 10), RequestEnergy(10, 10)
    sharing.begin_batch(1.5)
    sharing.add(growth(1, 2, 40.0))  # waits: what was done of the batch in it is not known yet
    sharing.end_batch(2.5, [one, other])
    assert known(one.energy_J).value == pytest.approx((20 + 20) / 2)
    assert known(one.energy_J).low == pytest.approx((18 + 9) / 2)  # the least power was 18 W
    assert not one.is_settled
    sharing.add(growth(2, 3, 10.0))
    assert known(one.energy_J).value == known(other.energy_J).value == pytest.approx((20 + 5) / 2)
    assert one.is_settled


def test_a_provisional_answer_has_no_more_than_the_idle_energy_so_far() -> None:
    sharing, early, late = EnergySharing(), RequestEnergy(1, 1), RequestEnergy(1, 1)
    sharing.begin_batch(0.9)
    sharing.end_batch(1.0, [early])
    sharing.add(growth(0, 1, 20.0))  # 2 J of it are the first request's
    assert sharing.idle_of([early]) == pytest.approx(18.0)
    sharing.begin_batch(1.0)
    sharing.end_batch(1.5, [late])  # 10 J, in an interval that is not over
    assert sharing.idle_of([late]) == pytest.approx(18.0 * 10 / (2 + 10))


def test_a_batch_that_ended_while_an_interval_was_being_added_is_not_counted_twice() -> None:
    sharing, request = EnergySharing(), RequestEnergy(1, 1)
    sharing.add(growth(0, 1, 20.0))
    sharing.begin_batch(1.5)
    sharing.end_batch(2.1, [request])
    sharing.add(growth(1, 2, 20.0))
    assert known(request.energy_J).value == pytest.approx(12.0)
    assert not request.is_settled


def test_an_answer_of_which_a_part_was_modelled_is_modelled() -> None:
    sharing, request = EnergySharing(), RequestEnergy(1, 1)
    sharing.begin_batch(0.5)
    sharing.add(replace(growth(0, 1, 20.0), quality="modelled"))
    sharing.add(growth(1, 2, 20.0))
    sharing.end_batch(2.5, [request])
    assert request.quality == "modelled"
    sharing.add(growth(2, 3, 20.0))
    assert (request.quality, request.is_settled) == ("modelled", True)


def test_no_power_is_taken_from_before_an_interval_that_is_unknown() -> None:
    sharing, request = EnergySharing(), RequestEnergy(1, 1)
    sharing.add(growth(0, 1, 20.0))
    sharing.add(growth(1, 2, None))
    sharing.begin_batch(2.1)
    sharing.end_batch(2.5, [request])
    assert (request.energy_J, request.quality, request.reason) == (None, "unknown", "cpu: closed")


@pytest.mark.parametrize("energies_J", [[None], [None, 20.0], [20.0, None], [None, 20.0, 20.0]])
def test_what_cannot_be_read_is_unknown(energies_J: list[float | None]) -> None:
    sharing, request = EnergySharing(), RequestEnergy(1, 1)
    sharing.begin_batch(0.1)
    for number, energy_J in enumerate(energies_J[:-1]):
        sharing.add(growth(number, number + 1, energy_J))
    sharing.end_batch(len(energies_J) - 0.8, [request])
    if energies_J[0] is None and len(energies_J) > 1:
        assert (request.energy_J, request.reason, request.is_settled) == (None, "cpu: closed", False)
    sharing.add(growth(len(energies_J) - 1, len(energies_J), energies_J[-1]))
    assert (request.energy_J, request.reason, request.is_settled) == (None, "cpu: closed", True)


class Broken(EnergyMetrics):
    """Metrics that fail when they count energy of this use."""

    def __init__(self, use: str) -> None:
        super().__init__(CollectorRegistry())
        self.use = use

    def count(self, shared: SharedInterval) -> None:
        if getattr(shared, self.use) > 0:
            raise ValueError("a counter cannot go back")


@dataclass
class Asked:
    energy: RequestEnergy | None = None


@pytest.mark.parametrize("use", ["idle", "requests"])
def test_a_failure_is_reported_once_and_requests_go_on_without_their_energy(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Idle energy is shared by the thread that samples; that of requests by the engine's, when a batch has ended."""
    tree = PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda now_s: 40 * now_s)})
    own = {"GREENLLM_SYSFS": str(tmp_path / "sys"), "GREENLLM_PROCFS": str(proc_tree(tmp_path / "proc", cpus=1))}
    for name, value in clean_environment(tmp_path, GREENLLM_METER_INTERVAL_S="0.05", **own).items():
        if name.startswith(("GREENLLM_", "XDG_")):
            monkeypatch.setenv(name, value)
    with tree.running():
        sampling = EnergySampling(1, 0, Broken(use))
        for _ in range(2):
            asked, deadline_s = Asked(), time.monotonic() + 30
            sampling.begin_batch()
            time.sleep(0.2)  # some intervals
            sampling.end_batch([asked], [Completion("a", 1, 1, "stop")])
            while not known(asked.energy).is_settled:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            described = sampling.described([known(asked.energy)])
            assert (described["value_J"], described["reason"]) == (None, STOPPED)
        sampling.close()
    said = capsys.readouterr().err
    assert said.count("greenllm serve: counting energy failed; it is unknown from now on") == 1
    assert said.count("ValueError: a counter cannot go back") == 1


def test_the_oldest_answers_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_sampling, "MOST_KEPT", 2)
    sampling = EnergySampling(1, 0, EnergyMetrics(CollectorRegistry()))
    for name in ("one", "two", "three"):
        sampling.keep(name, [RequestEnergy(1, 1)])
    assert [sampling.of(name) is not None for name in ("one", "two", "three")] == [False, True, True]
    monkeypatch.setattr(energy_sampling, "KEPT_S", -1.0)  # over as soon as it has begun
    assert sampling.of("three") is None
    sampling.close()


def intervals(count: int, prompt: tuple[int, int], generated: tuple[int, int], idle: bool) -> list[IntervalWork]:
    """Return intervals of a server whose idle second takes 11 J, a prompt token 0.02 J, a generated token 0.3 J."""
    chance, made = random.Random(7), []
    for _ in range(count):
        idle_s, prompts, answers = chance.random() * idle, chance.randint(*prompt), chance.randint(*generated)
        energy_J = (11 * idle_s + 0.02 * prompts + 0.3 * answers) * chance.gauss(1, 0.03)
        made.append(IntervalWork(1.0, idle_s, prompts, answers, energy_J))
    return made


@pytest.mark.parametrize("idle", [True, False])
def test_the_costs_of_tokens_are_found(idle: bool) -> None:
    found = found_costs(intervals(300, (0, 2000), (0, 150), idle))
    assert found is not None
    assert found.generated_token == pytest.approx(0.3, rel=0.05)
    assert found.prompt_token == pytest.approx(0.02, rel=0.1)
    assert found.idle_W == (pytest.approx(11, rel=0.2) if idle else None)


@pytest.mark.parametrize(
    "too_little", [intervals(20, (0, 2000), (0, 150), True), intervals(300, (500, 500), (50, 50), False)]
)
def test_costs_that_cannot_be_told_apart_are_not_found(too_little: list[IntervalWork]) -> None:
    assert found_costs(too_little) is None
