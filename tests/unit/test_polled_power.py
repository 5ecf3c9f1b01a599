"""Energy from a power that is renewed at intervals: unbiased, with an interval that contains the truth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from greenllm.attribution.polled_power import STANDARD, polled_power
from greenllm.attribution.refresh_period import changes, refresh_period
from greenllm.ledger.records import Gauge

DURATION_S, STEP_S = 20.0, 0.001
Power = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def square(period_s: tuple[float, float] = (0.25, 5.0), duty: tuple[float, float] = (0.5, 0.5)) -> Power:
    def power(random: np.random.Generator, t: np.ndarray) -> np.ndarray:
        period = random.uniform(*period_s)
        return np.where((t + random.uniform(0, period)) % period < random.uniform(*duty) * period, 400.0, 70.0)

    return power


def random_steps(dwell_s: float) -> Power:
    """Powers that are constant for random times, as in a job with several phases."""

    def power(random: np.random.Generator, t: np.ndarray) -> np.ndarray:
        ends = np.cumsum(random.exponential(dwell_s, int(3 * len(t) * STEP_S / dwell_s) + 50)) + t[0]
        return random.uniform(60, 400, len(ends))[np.searchsorted(ends, t)]

    return power


def drifting(random: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return 250 + 100 * np.sin(2 * np.pi * (t + random.uniform(0, 10)) / random.uniform(3, 10))


def readings(random: np.random.Generator, power: Power, refresh_s: float, window_s: float, every_s: float, noise_W=0.0):
    """A meter's readings of a card that shows the mean over window_s, renewed every refresh_s; and the truth (J)."""
    t = np.arange(-1, DURATION_S + 1, STEP_S)
    energy = np.concatenate([[0.0], np.cumsum(power(random, t) * STEP_S)])
    edges = np.append(t, t[-1] + STEP_S)
    times = np.cumsum(every_s * random.uniform(0.7, 1.3, int(2 * DURATION_S / every_s)))
    times = np.concatenate([[0.0], times[times < DURATION_S], [DURATION_S, DURATION_S + refresh_s / 2]])
    phase_s = random.uniform(0, refresh_s)
    cycle = np.floor((times - phase_s) / refresh_s)
    ends = phase_s + cycle * refresh_s
    shown_W = (np.interp(ends, edges, energy) - np.interp(ends - window_s, edges, energy)) / window_s
    offsets = random.normal(0, noise_W, int(cycle.max() - cycle.min()) + 1)
    shown_W = np.round(shown_W + offsets[(cycle - cycle.min()).astype(int)], 3)
    return times, shown_W, float(np.diff(np.interp([0, DURATION_S], edges, energy))[0])


def errors(power: Power, count: int, gauge: Gauge = STANDARD, **card) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of many runs, and the half-widths stated."""
    random = np.random.default_rng(11)
    found = []
    for _ in range(count):
        times, shown_W, truth_J = readings(random, power, **card)
        series = polled_power(times, shown_W, gauge)
        energy_J = float(series.growth(np.array([0.0, DURATION_S]))[0])
        found.append(((energy_J - truth_J) / truth_J, series.halfwidth(0.0, DURATION_S) / truth_J))
    error, halfwidth = np.array(found).T
    return error, halfwidth


CARD: dict[str, Any] = {"refresh_s": 0.1, "window_s": 0.025, "every_s": 0.025}


@pytest.mark.parametrize("noise_W", [0.0, 3.0])
@pytest.mark.parametrize(
    ("power", "coverage"),
    [
        (square(), 0.95),
        (square(duty=(0.2, 0.8)), 0.95),
        (drifting, 0.95),
        (random_steps(0.7), 0.9),  # phases shorter than a tenth of a second may be missed
        (random_steps(3.0), 0.9),
    ],
    ids=["square", "any duty", "drifting", "steps", "slow steps"],
)
def test_the_mean_is_right_and_the_interval_holds(power, coverage, noise_W):
    error, halfwidth = errors(power, 100, noise_W=noise_W, **CARD)
    assert abs(error.mean()) < 3 * error.std() / 10 + 1e-3
    assert (np.abs(error) <= halfwidth).mean() >= coverage
    assert halfwidth.mean() < 0.02


def test_a_load_in_step_with_the_refresh_gets_the_wide_interval_that_it_deserves():
    """Every period is seen at the same places, so more periods do not locate the steps between the windows."""
    error, halfwidth = errors(square((0.7, 0.7)), 100, **CARD)
    other_error, other_halfwidth = errors(square((0.73, 0.73)), 100, **CARD)
    assert np.abs(error).max() > 0.05
    assert np.abs(other_error).max() < 0.01
    assert (np.abs(error) <= halfwidth).mean() >= 0.95
    assert halfwidth.mean() > 5 * other_halfwidth.mean()


@pytest.mark.parametrize("refresh_s", [0.02, 0.05, 0.1, 0.16])
def test_the_refresh_period_is_found(refresh_s):
    times, shown_W, _ = readings(
        np.random.default_rng(3), square((0.9, 0.9)), refresh_s, refresh_s / 4, refresh_s / 4, noise_W=2.0
    )
    assert refresh_period(changes(times, shown_W), Gauge(1.0).refresh_s) == pytest.approx(refresh_s, rel=0.01)


def test_a_steady_power_has_no_error_and_needs_no_refresh():
    series = polled_power(np.linspace(0, 20, 500), np.full(500, 123.0))
    assert series.growth(np.array([0.0, 20.0]))[0] == pytest.approx(2460)
    assert series.halfwidth(0.0, 20.0) == 0


def test_a_card_that_shows_a_mean_says_that_it_is_late():
    """From 70 to 400 W as the job begins: the mean of the last second misses half a second of the rise."""
    times = np.arange(0, 5, 0.025)
    shown_W = 70 + 330 * np.minimum(1, np.floor(times * 10) / 10)
    truth_J = 400 * float(times[-1])
    taken_as_shown, known_for_a_mean = (
        polled_power(times, shown_W),
        polled_power(times, shown_W, Gauge(1.0, mean_s=1.0)),
    )
    window = np.array([0.0, times[-1]])
    energy_J = float(known_for_a_mean.growth(window)[0])
    assert energy_J == pytest.approx(float(taken_as_shown.growth(window)[0]))
    assert abs(energy_J - truth_J) > taken_as_shown.halfwidth(*window)
    assert abs(energy_J - truth_J) < known_for_a_mean.halfwidth(*window)


def test_what_was_not_read_is_unknown_and_not_counted():
    times = np.concatenate([np.arange(0, 10, 0.5), np.arange(30, 40, 0.5)])
    series = polled_power(times, np.full(len(times), 100.0))
    assert series.growth(np.array([0.0, 39.5]))[0] == pytest.approx(100 * 19)
    ((start_s, end_s),) = [(gap.start_s, gap.end_s) for gap in series.unknown]
    assert (start_s, end_s) == (9.5, 30)


def test_readings_too_far_apart_leave_all_unknown():
    series = polled_power(np.array([0.0, 10.0, 20.0]), np.full(3, 100.0))
    assert series.growth(np.array([0.0, 20.0]))[0] == 0
    assert sum(gap.end_s - gap.start_s for gap in series.unknown) == 20


def test_the_gauges_record_decides_how_long_it_may_be_unread():
    longer = polled_power(np.array([0.0, 10.0, 20.0]), np.full(3, 100.0), Gauge(1.0, unread_s=15.0))
    assert longer.growth(np.array([0.0, 20.0]))[0] == pytest.approx(2000)
    assert longer.unknown == []


@pytest.mark.parametrize(("refresh_s", "window_s"), [(0.1, 0.09), (0.04, 0.01)])
def test_the_gauges_record_decides_what_a_card_is_taken_to_show(refresh_s, window_s):
    """A card of another window, or whose period the readings do not show, needs its own description."""
    card = {"refresh_s": refresh_s, "window_s": window_s, "every_s": 0.025}
    described = Gauge(1.0, refresh_s=refresh_s, window_part=window_s / refresh_s)
    known, standard = (errors(square((1.0, 2.0)), 20, gauge, **card)[0] for gauge in (described, STANDARD))
    assert np.abs(known).mean() < 0.8 * np.abs(standard).mean()


def test_two_meters_readings_make_one_series():
    random = np.random.default_rng(5)
    times, shown_W, truth_J = readings(random, square((1.0, 2.0)), **CARD)
    half = random.random(len(times)) < 0.5
    merged = polled_power(times, shown_W)
    again = polled_power(np.sort(np.append(times, times[half] + 1e-4)), np.repeat(shown_W, 1 + half))
    window = np.array([0.0, DURATION_S])
    assert again.growth(window)[0] == pytest.approx(merged.growth(window)[0], rel=5e-3)
    assert merged.growth(window)[0] == pytest.approx(truth_J, rel=0.03)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_readings_are_no_trouble(count):
    series = polled_power(np.arange(count) * 0.1, np.arange(count) * 10.0)
    assert series.growth(np.array([0.0, 1.0]))[0] >= 0
