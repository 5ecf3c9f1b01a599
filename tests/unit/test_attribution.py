"""Every joule is shared out once: to the right job, to other processes or to idle."""

import dataclasses

import numpy as np
import pytest
from hardware.ledgers import CPU_MODEL, RAPL, Host, attempt, gpu, piecewise, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowing import known

from greenllm.attribution import Attempt, Attribution, Parameter, attribute_attempts, ratio
from greenllm.attribution.command import as_tables
from greenllm.attribution.result import DeviceTotals
from greenllm.footprint.standing import attempts as known_standing

JOULES = pytest.approx


def job_J(result: Attribution, job_id: str) -> float:
    energy = result.job(job_id).energy
    assert energy is not None
    return energy.value


def device(result: Attribution, name: str = "package-0", host: int = 0) -> DeviceTotals:
    return next(d for d in result.device_totals(result.hosts[host]) if d.device == name)


def power_counter(watts: float):
    return lambda t: 1e6 * watts * np.asarray(t)


@st.composite
def worlds(draw):
    """A host and 1 to 5 attempts that overlap in any way, some nested, with clocks and CPU times that disagree."""
    cpus = draw(st.integers(1, 8))
    knots = np.arange(0, 11.0)
    powers = draw(st.lists(st.floats(0, 300), min_size=10, max_size=10))
    busy = draw(st.lists(st.floats(0, cpus * 1.05), min_size=10, max_size=10))
    energy = piecewise(knots, powers)
    gpus = [CPU_MODEL, gpu("GPU-a")]
    # what each meter may read: all the same, or not
    sensors = draw(st.sampled_from([[[RAPL]], [[CPU_MODEL]], [gpus], [[RAPL], [CPU_MODEL], gpus]]))
    host = Host(
        cpus=cpus,
        # a model needs the host's busy time, on which all meters must agree also between their samples
        busy_s=piecewise(knots, busy) if sensors == [[RAPL]] else piecewise([0, 10], busy[:1]),
        counters={"package-0": lambda t: 1e6 * energy(t), "GPU-a": lambda t: 1e3 * energy(t)},
    )
    attempts: list[Attempt] = []
    for number in range(draw(st.integers(1, 5))):
        times = draw(st.lists(st.integers(0, 1000), min_size=2, max_size=8, unique=True))
        rates = draw(st.lists(st.floats(0, cpus), min_size=10, max_size=10))
        outer = draw(st.sampled_from([None, *(a.id for a in attempts)]))
        job_id = f"{outer}.{number}" if outer else f"job{number}"
        attempts.append(
            attempt(
                dataclasses.replace(host, sensors=draw(st.sampled_from(sensors))),
                job_id,
                [t / 100 for t in times],
                piecewise(knots, rates),
                status=draw(st.sampled_from(["succeeded", "failed", "killed", "lost", "running"])),
                reserved=draw(st.integers(0, cpus)),
                gpus=draw(st.sampled_from([[], ["GPU-a"]])),
                parent=outer,
            )
        )
    return attempts


def totals(result: Attribution) -> dict[str, float]:
    numbers = {job.id: 0.0 if job.energy is None else job.energy.value for job in result.jobs}
    for host in result.hosts:
        for row in result.device_totals(host):
            numbers |= {f"{row.device} {k}": getattr(row, k) for k in ("counted_J", "other_J", "idle_J")}
    return numbers


def split(one: Attempt, everyone: list[Attempt], at_s: list[float]) -> Attempt:
    """The same attempt with more samples, which hold no new information.

    They lie on the lines between its own samples; a shared counter's on the lines between all meters' readings.
    """
    times = one.columns["monotonic_s"]
    finer = np.union1d(times, [t for t in at_s if times.min() < t < times.max()])
    columns = {}
    for name, values in one.columns.items():
        if name.endswith(".raw"):
            readers = [a for a in everyone if name in a.columns]
            read = sorted({(t, v) for a in readers for t, v in zip(a.times, a.columns[name], strict=True)})
            columns[name] = np.interp(finer, *np.array(read).T)
        else:
            columns[name] = np.interp(finer, times, values)
    return dataclasses.replace(one, columns=columns)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from(["allocated", "active"]))
def test_parts_are_never_negative_and_sum_to_what_was_counted(attempts, policy):
    result = attribute_attempts(attempts, policy)
    assert result.troubles == []
    for host in result.hosts:
        watched = sorted({t for a in attempts for t in a.times})
        for row in result.device_totals(host):
            parts = [row.jobs_J, row.other_J, row.idle_J]
            assert min(parts) >= -1e-9
            assert row.counted_J == JOULES(sum(parts), abs=1e-6)
            named = sum(
                c.energy.value for j in result.jobs for c in j.components if c.energy and c.device == row.device
            )
            assert row.jobs_J == JOULES(named, rel=1e-6, abs=1e-6)
            merged = next(d.series for d in host.devices if d.identity[1] == row.device)
            everywhere = all(row.device in {s.device for s in a.sensors} for a in host.attempts)
            if everywhere and not host.gaps and len(merged.times):
                counted = np.diff(np.interp([watched[0], watched[-1]], merged.times, merged.values))
                unit_J = {"package-0": 1e-6, "GPU-a": 1e-3}[row.device]
                assert row.counted_J == JOULES(float(counted[0]) * unit_J, rel=1e-6, abs=1e-6)
    assert all(j.energy is None or j.energy.value >= -1e-9 for j in result.jobs)
    assert all(0 <= c.coverage <= 1 for j in result.jobs for c in j.components)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False), st.lists(st.integers(0, 9999).map(lambda n: n / 1000), max_size=12))
def test_permuting_and_splitting_samples_changes_nothing(attempts, random, more):
    before = totals(attribute_attempts(attempts))

    assert totals(attribute_attempts(shuffled(attempts, random))) == JOULES(before, rel=1e-9, abs=1e-9)

    finer = [split(one, attempts, more) for one in attempts]
    assert totals(attribute_attempts(finer)) == JOULES(before, rel=1e-6, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_each_job_gets_the_share_it_is_known_to_have_used(data):
    """Jobs at steady loads that fit the host, sampled at different times, on a counter at constant power."""
    cpus, watts = data.draw(st.integers(2, 16)), data.draw(st.floats(10, 500))
    jobs, free = [], float(cpus)
    for number in range(data.draw(st.integers(1, 6))):
        begin = data.draw(st.floats(0, 50))
        end = begin + data.draw(st.floats(1, 50))
        load = data.draw(st.floats(0, free))
        free -= load
        jobs.append((f"job{number}", begin, end, load))
    others = data.draw(st.floats(0, free))

    def busy(t):
        return others * np.asarray(t) + sum(piecewise([b, e], [load])(t) for _, b, e, load in jobs)

    host = Host(cpus=cpus, busy_s=busy, counters={"package-0": power_counter(watts)})
    attempts = []
    for job_id, begin, end, load in jobs:
        inner = data.draw(st.lists(st.floats(begin, end), max_size=5))
        attempts.append(attempt(host, job_id, [begin, *inner, end], piecewise([begin, end], [load]), reserved=0))
    result = attribute_attempts(attempts, "active")
    for job_id, begin, end, load in jobs:
        assert job_J(result, job_id) == JOULES(watts * (end - begin) * load / cpus, rel=1e-6, abs=1e-6)


def test_a_busy_job_gets_its_half_and_a_sleeping_one_the_idle_part_of_what_it_reserved():
    host = Host(cpus=8, busy_s=lambda t: 4.0 * t, counters={"package-0": power_counter(80)})
    busy = attempt(host, "busy", [0, 10], lambda t: 4.0 * t, reserved=4)
    asleep = attempt(host, "asleep", [0, 10], lambda t: 0.0 * t, reserved=2)
    allocated = attribute_attempts([busy, asleep])
    assert job_J(allocated, "busy") == JOULES(400)
    assert job_J(allocated, "asleep") == JOULES(200)
    assert device(allocated).idle_J == JOULES(200)
    active = attribute_attempts([busy, asleep], "active")
    assert (job_J(active, "busy"), job_J(active, "asleep")) == (JOULES(400), JOULES(0))
    assert device(active).idle_J == JOULES(400)


def test_other_processes_pay_for_themselves_and_reservations_share_what_is_idle():
    host = Host(cpus=4, busy_s=lambda t: 3.0 * t, counters={"package-0": power_counter(40)})
    one = attempt(host, "one", [0, 10], lambda t: 1.0 * t, reserved=4)
    result = attribute_attempts([one])
    assert device(result).other_J == JOULES(200)  # two of the three busy processors
    assert job_J(result, "one") == JOULES(200)  # its own, and the one idle processor of its four
    assert device(result).idle_J == JOULES(0)


def test_a_childs_share_is_taken_out_of_its_parents():
    host = Host(cpus=4, busy_s=lambda t: 3.0 * t, counters={"package-0": power_counter(40)})
    parent = attempt(host, "p", [0, 3, 20], lambda t: 3.0 * t, reserved=4)
    child = attempt(host, "p.c", [5, 11, 15], lambda t: 2.0 * (t - 5), reserved=2, parent="p")
    result = attribute_attempts([parent, child])
    assert job_J(result, "p.c") == JOULES(200)
    assert job_J(result, "p") == JOULES(600)
    whole = result.job("p").energy_with_children
    assert whole is not None
    assert whole.value == JOULES(800)


def test_a_grandchild_counts_though_its_parents_ledger_is_lost():
    host = Host(cpus=2, busy_s=lambda t: 2.0 * t, counters={"package-0": power_counter(20)})
    outer = attempt(host, "p", [0, 10], lambda t: 2.0 * t)
    inner = attempt(host, "p.c.g", [0, 10], lambda t: 1.0 * t, parent="p.c")
    result = attribute_attempts([outer, inner])
    assert (job_J(result, "p"), job_J(result, "p.c.g")) == (JOULES(100), JOULES(100))


def test_modelled_power_is_applied_once_however_many_meters_watch():
    host = Host(cpus=4, busy_s=lambda t: 2.0 * t, sensors=[CPU_MODEL])
    jobs = [attempt(host, f"j{i}", [0, i + 1, 20], lambda t: 0.125 * t) for i in range(16)]
    expected = 20 * (4 * 2.0 + 2 * 5.0)
    for n in (1, 4, 16):
        assert device(attribute_attempts(jobs[:n]), "cpu").counted_J == JOULES(expected)


def test_a_model_stands_back_where_another_meter_measured_the_component():
    measuring = Host(cpus=4, busy_s=lambda t: 2.0 * t, counters={"package-0": power_counter(10)})
    modelling = dataclasses.replace(measuring, sensors=[CPU_MODEL])
    a = attempt(measuring, "a", [0, 10], lambda t: 1.0 * t)
    b = attempt(modelling, "b", [0, 10], lambda t: 1.0 * t)
    result = attribute_attempts([a, b])
    assert device(result).counted_J == JOULES(100)
    assert device(result, "cpu").counted_J == 0
    assert (job_J(result, "a"), job_J(result, "b")) == (JOULES(25), JOULES(25))
    assert [(c.device, c.quality, c.coverage) for c in result.job("b").components] == [("package-0", "measured", 1.0)]


def test_a_job_that_another_meter_measured_for_a_while_has_the_model_for_the_rest():
    measuring = Host(cpus=4, busy_s=lambda t: 2.0 * t, counters={"package-0": power_counter(10)})
    unreadable = RAPL | {"terms": [], "counter": None, "reason": "no access"}
    modelling = dataclasses.replace(measuring, sensors=[unreadable, CPU_MODEL | {"reason": "no access"}])
    a = attempt(measuring, "a", [0, 10], lambda t: 1.0 * t)
    b = attempt(modelling, "b", [5, 25], lambda t: 1.0 * (t - 5))
    result = attribute_attempts([a, b])
    measured, modelled = result.job("b").components
    assert (known(measured.energy).value, measured.share, measured.coverage) == JOULES((50 / 4, 1 / 4, 1 / 4))
    assert (known(modelled.energy).value, modelled.share, modelled.coverage) == JOULES((15 * 18 / 4, 1 / 4, 3 / 4))
    assert (measured.reason, modelled.reason) == (None, "no access")
    assert result.job("b").coverage == JOULES(1)
    assert not result.job("b").partial
    assert result.troubles == []


def test_a_sensor_of_which_every_reading_failed_is_null_and_not_zero():
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(10)})
    blind = attempt(host, "a", [0, 1], lambda t: 1.0 * t)
    blind.columns["cpu/package-0.raw"][:] = np.nan
    (component,) = attribute_attempts([blind]).job("a").components
    assert (component.energy, component.share, component.coverage) == (None, None, 0.0)
    assert component.reason == "no two readings of it succeeded"


def test_platform_stands_apart_from_the_sum():
    platform = RAPL | {"component": "platform", "device": "psys"}
    host = Host(
        cpus=1,
        busy_s=lambda t: 1.0 * t,
        counters={"package-0": power_counter(10), "psys": power_counter(30)},
        sensors=[RAPL, platform],
    )
    result = attribute_attempts([attempt(host, "a", [0, 10], lambda t: 1.0 * t)])
    assert job_J(result, "a") == JOULES(100)
    assert device(result, "psys").jobs_J == JOULES(300)


def test_a_counter_that_wraps_loses_nothing():
    wrapping = RAPL | {"counter": {"unit_J": 1e-6, "wrap": 70e6, "shared": True}}
    host = Host(
        cpus=1,
        busy_s=lambda t: 1.0 * t,
        counters={"package-0": lambda t: np.mod(20e6 * np.asarray(t) + 5e6, 70e6)},
        sensors=[wrapping],
    )
    jobs = [
        attempt(host, "a", list(range(11)), lambda t: 0.5 * t, reserved=0),
        attempt(host, "b", [x + 0.3 for x in range(9)], lambda t: 0.5 * t, reserved=0),
    ]
    assert device(attribute_attempts(jobs)).counted_J == JOULES(200)


def limited(wrap: float | None = 70e6, max_W: float = 50.0) -> dict:
    """RAPL that wraps at 70 J and can draw 50 W at most: after 1.4 s it may have wrapped once."""
    return RAPL | {"counter": {"unit_J": 1e-6, "wrap": wrap, "shared": True, "ticks": False, "max_W": max_W}}


def test_a_counter_that_may_have_wrapped_twice_between_two_readings_counts_nothing_there_and_says_so():
    host = Host(
        cpus=1,
        busy_s=lambda t: 1.0 * t,
        counters={"package-0": lambda t: np.mod(20e6 * np.asarray(t), 70e6)},
        sensors=[limited()],
    )
    one = attempt(host, "a", [0, 1, 2, 3, 10, 11, 12], lambda t: 1.0 * t)
    result = attribute_attempts([one])
    assert device(result).counted_J == JOULES(100)  # five of the twelve seconds
    (gap,) = result.hosts[0].gaps
    assert (gap.device, gap.duration_s) == ("package-0", JOULES(7))
    assert "wrapped more than once" in gap.reason
    (component,) = result.job("a").components
    assert component.coverage == JOULES(5 / 12)
    text = as_tables(result)
    assert "measured (42 % of its time)" in text
    assert "package-0: unknown, and counted nowhere: 7.0 s in 1 gap(s): the time between two readings" in text
    assert "Not watched" not in text


def test_a_gap_between_two_jobs_is_told_once_however_the_counters_wrapped_meanwhile():
    host = Host(cpus=1, counters={"package-0": lambda t: np.mod(20e6 * np.asarray(t), 70e6)}, sensors=[limited()])
    jobs = [attempt(host, f"{t}", [t, t + 1], lambda t: 0.0 * t, reserved=1) for t in (0, 100)]
    result = attribute_attempts(jobs)
    assert device(result).counted_J == JOULES(40)
    assert [gap.reason for gap in result.hosts[0].gaps] == ["no meter was running"]
    assert [c.coverage for job in result.jobs for c in job.components] == [1.0, 1.0]


def test_a_machine_that_was_suspended_makes_no_energy_when_its_counters_begin_anew():
    """CLOCK_MONOTONIC stops meanwhile, the wall clock does not, and RAPL restarts at zero: no wrap-around."""
    host = Host(
        cpus=1,
        busy_s=lambda t: 1.0 * t,
        counters={"package-0": lambda t: np.where(t < 4.5, 9e9 + 20e6 * t, 20e6 * (t - 4.5))},
        sensors=[limited(wrap=262e9)],
    )
    one = attempt(host, "a", list(range(11)), lambda t: 1.0 * t)
    one.columns["wall_s"][one.columns["monotonic_s"] > 4.5] += 3600
    result = attribute_attempts([one])
    assert device(result).counted_J == JOULES(9 * 20)
    assert job_J(result, "a") == JOULES(9 * 20)
    assert "was reset" in result.hosts[0].gaps[0].reason


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_wall_clock_does_no_harm(step_s):
    host = Host(cpus=2, busy_s=lambda t: 1.0 * t, sensors=[RAPL, CPU_MODEL | {"component": "dram", "device": "dram"}])
    host.counters = {"package-0": power_counter(10)}
    jobs = [
        attempt(host, name, list(range(begin, begin + 11)), lambda t: 0.5 * t) for name, begin in (("a", 0), ("b", 5))
    ]
    before = totals(attribute_attempts(jobs))
    for one in jobs:
        one.columns["wall_s"] = one.columns["wall_s"] + np.where(one.columns["monotonic_s"] > 7.5, step_s, 0.0)
    after = attribute_attempts(jobs)
    assert totals(after) == JOULES(before)
    assert after.hosts[0].gaps == []


def test_a_counter_that_falls_back_counts_nothing_there_and_says_so():
    host = Host(
        cpus=1,
        sensors=[gpu("GPU-a")],
        counters={"GPU-a": lambda t: np.where(t < 4.5, 1e6 + 1e5 * t, 1e5 * (t - 4.5))},
    )
    result = attribute_attempts([attempt(host, "a", list(range(11)), lambda t: 0.0 * t, gpus=["GPU-a"])])
    assert device(result, "GPU-a").counted_J == JOULES(900)
    assert [gap.device for gap in result.hosts[0].gaps] == ["GPU-a"]


def test_a_reset_between_two_meters_readings_of_almost_one_time_is_told_from_a_tie():
    host = Host(
        cpus=1,
        sensors=[gpu("GPU-a")],
        counters={"GPU-a": lambda t: np.where(t < 10, 1e9 + 1e5 * t, 1e5 * (t - 10))},
    )
    times = np.arange(0, 30.5)
    before = attempt(host, "a", times - 0.01, lambda t: 0.0 * t, gpus=["GPU-a"])
    after = attempt(host, "b", times + 0.01, lambda t: 0.0 * t)
    assert device(attribute_attempts([before, after]), "GPU-a").counted_J == JOULES(3000)


def test_readings_of_almost_one_time_in_the_wrong_order_count_once():
    """Three meters read together each second; the first time stamp carries the last value."""
    host = Host(cpus=1, sensors=[gpu("GPU-a")], counters={"GPU-a": lambda t: 1e9 + 4e5 * np.asarray(t)})
    jobs = [attempt(host, f"{i}", np.arange(20) + 0.01 * i, lambda t: 0.0 * t) for i in range(3)]
    raw = [one.columns["gpu/GPU-a.raw"].copy() for one in jobs]
    for one, swapped in zip(jobs, raw[::-1], strict=True):
        one.columns["gpu/GPU-a.raw"] = swapped
    result = attribute_attempts(jobs)
    assert result.hosts[0].gaps == []
    assert device(result, "GPU-a").counted_J == pytest.approx(400 * 19, abs=400 * 0.02)


@pytest.mark.parametrize(
    ("constants", "power_W", "energy_J", "reason"),
    [
        ({"max_W": 99.0, "stamp_s": 0.05}, 100.0, 1000, None),
        ({"max_W": 99.0, "stamp_s": 0.001}, 100.0, None, "was reset"),
        ({"still_s": 30.0, "still_cpu_s": 6.0}, 0.0, 0, None),
        ({"still_s": 30.0, "still_cpu_s": 4.0}, 0.0, None, "stood still"),
    ],
)
def test_the_ledgers_record_of_a_counter_decides_what_its_readings_mean(constants, power_W, energy_J, reason):
    """Equal readings, but other constants in the start record. The job uses 5 CPU seconds."""
    card = gpu("GPU-a")
    host = Host(
        sensors=[card | {"counter": card["counter"] | constants}], counters={"GPU-a": lambda t: 1e3 * power_W * t}
    )
    result = attribute_attempts([attempt(host, "a", np.arange(0, 11.0), lambda t: 0.5 * t, gpus=["GPU-a"])])
    (component,) = result.job("a").components
    assert (component.energy and component.energy.value) == (None if energy_J is None else JOULES(energy_J))
    assert (component.reason is None) if reason is None else (reason in known(component.reason))


def outside(method: str, **constants: float) -> dict:
    """Energy in joules from a source outside the host; without `constants` as ledgers of earlier versions have it."""
    counter = {"unit_J": 1.0, "wrap": None, "shared": False, "ticks": False, "max_W": None, **constants}
    return RAPL | {"component": "platform", "device": "external", "method": method, "counter": counter}


@pytest.mark.parametrize(
    ("method", "constants", "counted_J"),
    [
        ("watts-command", {}, 32000),
        ("joules-command", {}, 100000),
        ("watts-command", {"silent_s": 700.0}, 100000),
        ("another-command", {"silent_s": 600.0}, 32000),
    ],
)
def test_while_the_source_of_a_power_is_silent_nothing_counts_but_a_counter_goes_on(method, constants, counted_J):
    host = Host(cpus=1, sensors=[outside(method, **constants)], counters={"external": lambda t: 100.0 * np.asarray(t)})
    one = attempt(host, "a", np.arange(0, 1001), lambda t: 1.0 * t)
    silent = (one.columns["monotonic_s"] > 220) & (one.columns["monotonic_s"] < 900)
    one.columns["platform/external.raw"][silent] = np.nan
    result = attribute_attempts([one])
    assert device(result, "external").counted_J == JOULES(counted_J)
    (component,) = result.job("a").components
    assert component.coverage == JOULES(counted_J / 100000)
    assert [(gap.duration_s, gap.device) for gap in result.hosts[0].gaps] == (
        [(680, "external")] if counted_J < 100000 else []
    )
    other = attempt(host, "b", np.arange(0, 1001), lambda t: 0.0 * t)  # its source was not silent
    assert device(attribute_attempts([one, other]), "external").counted_J == JOULES(100000)


def test_a_gpu_belongs_to_its_innermost_holder_else_to_others_or_idle():
    sensors = [gpu("GPU-a"), gpu("GPU-b"), gpu("GPU-c")]
    watts = {"GPU-a": 100, "GPU-b": 10, "GPU-c": 1}
    counters = {name: piecewise([0, 10], [1e3 * power_W]) for name, power_W in watts.items()}
    host = Host(cpus=1, sensors=sensors, counters=counters)
    deploy = attempt(host, "d", [0, 10], lambda t: 0.0 * t, gpus=["GPU-a"])
    serve = attempt(host, "d.s", [2, 8], lambda t: 0.0 * t, gpus=["GPU-a"], parent="d")
    for one in (deploy, serve):  # a process is on GPU-c, which no job leased
        one.start.columns.append("gpu/GPU-c.processes")
        one.columns["gpu/GPU-c.processes"] = np.ones(len(one.times))
    result = attribute_attempts([deploy, serve])
    assert job_J(result, "d.s") == JOULES(600)
    assert job_J(result, "d") == JOULES(400)
    assert device(result, "GPU-b").idle_J == JOULES(100)
    assert device(result, "GPU-c").other_J == JOULES(10)


def test_time_that_no_meter_watched_is_a_gap_and_counts_nowhere():
    host = Host(cpus=2, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(10)})
    first = attempt(host, "a", [0, 10], lambda t: 0.0 * t, reserved=0)
    second = attempt(host, "b", [15, 20], lambda t: 0.0 * t, reserved=0)
    result = attribute_attempts([first, second])
    assert device(result).counted_J == JOULES(150)
    assert [(gap.duration_s, gap.device) for gap in result.hosts[0].gaps] == [(5.0, None)]
    assert "Not watched by any meter, and counted nowhere: 5.0 s in 1 gap(s)." in as_tables(result)


def test_hosts_are_told_apart_by_boot_though_they_share_a_name():
    a = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(10)})
    b = dataclasses.replace(a, boot_id="boot-b", counters={"package-0": power_counter(30)})
    one = attempt(a, "one", [0, 10], lambda t: 1.0 * t)
    two = attempt(b, "two", [0, 10], lambda t: 1.0 * t)
    two.start.parameters = two.start.parameters | {"rapl.gain": Parameter(2.0, 1.9, 2.1, "J/J", "another card")}
    result = attribute_attempts([one, two])
    assert (job_J(result, "one"), job_J(result, "two")) == (JOULES(100), JOULES(600))


def test_what_is_asked_at_once_beyond_the_hosts_processors_waits_and_is_not_lost():
    """Two jobs have bursts in one interval of their coarse samples; each job's CPU time is kept."""
    host = Host(cpus=1, busy_s=lambda t: np.minimum(t, 4.0), counters={"package-0": power_counter(10)})
    a = attempt(host, "a", [0, 4, 10], piecewise([0, 2], [1]), reserved=0)
    b = attempt(host, "b", [0, 2.5, 10], piecewise([0, 2, 4], [0, 1]), reserved=0)
    result = attribute_attempts([a, b], "active")
    assert (job_J(result, "a"), job_J(result, "b")) == (JOULES(20), JOULES(20))


def test_failed_killed_lost_and_superseded_attempts_are_waste_and_count():
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(10)})

    def one(job_id, start, status, **more):
        return attempt(host, job_id, [start, start + 1], lambda t: 1.0 * (t - start), status=status, **more)

    same = {"rule": "train", "wildcards": {"seed": "1"}}
    jobs = [
        one("a", 0, "failed", **same),
        one("b", 1, "killed", **same),
        one("c", 2, "lost", **same),
        one("d", 3, "succeeded", **same),
        one("e", 4, "succeeded", **same),
        one("f", 5, "succeeded", rule="train", wildcards={"seed": "2"}),
        one("g", 6, "succeeded", **same, config_hash="another"),
    ]
    result = attribute_attempts(jobs)
    assert {j.id: j.waste for j in result.jobs if j.waste} == {
        "a": "failed",
        "b": "killed",
        "c": "lost",
        "d": "superseded",
    }
    assert result.to_json()["waste_J"] == JOULES({"failed": 10, "killed": 10, "lost": 10, "superseded": 10})
    assert device(result).jobs_J == JOULES(70)


def test_waste_of_unknown_energy_is_null_and_only_no_waste_is_zero():
    unreadable = RAPL | {"terms": [], "counter": None, "reason": "no access"}
    failed = attempt(Host(sensors=[unreadable]), "a", [0, 1], lambda t: 1.0 * t, status="failed")
    assert attribute_attempts([failed]).to_json()["waste_J"] == {
        "failed": None, "killed": 0, "lost": 0, "superseded": 0,
    }  # fmt: skip


def test_parts_that_do_not_sum_to_what_a_sensor_counted_are_told():
    host = Host(cpus=2, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(10)})
    result = attribute_attempts([attempt(host, "a", [0, 10], lambda t: 1.0 * t)])
    assert result.troubles == []
    (found,) = result.hosts
    (key,) = found.shares.idle
    short = dataclasses.replace(found.shares, idle={key: found.shares.idle[key] - 5})
    broken = dataclasses.replace(result, hosts=[dataclasses.replace(found, shares=short)])
    assert device(broken).counted_J == JOULES(100)
    (trouble,) = broken.to_json()["troubles"]
    assert "node, cpu package-0: counted 100 J, but shared out 95 J" in trouble
    (one,) = result.jobs
    nameless = dataclasses.replace(result, jobs=[dataclasses.replace(one, components=[])])
    (trouble,) = nameless.troubles
    assert "node, cpu package-0: shared out to jobs 50 J, but theirs sum to 0 J" in trouble


def test_the_tables_show_small_energies_too():
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(0.00066)})
    text = as_tables(attribute_attempts([attempt(host, "a", [0, 10], lambda t: 1.0 * t, status="failed")]))
    assert "0.0066" in text
    assert "failed 0.0066 J, killed 0 J" in text
    loud = dataclasses.replace(host, counters={"package-0": power_counter(123456.7)})
    assert " 1234567 " in as_tables(attribute_attempts([attempt(loud, "a", [0, 10], lambda t: 1.0 * t)]))


def test_what_ran_inside_a_failed_attempt_shares_its_fate():
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": power_counter(10)})
    deploy = attempt(host, "d", [0, 10], lambda t: 1.0 * t, status="failed")
    load = attempt(host, "d.l", [0, 10], lambda t: 0.5 * t, parent="d")
    assert attribute_attempts([deploy, load]).to_json()["waste_J"]["failed"] == JOULES(100)


def test_the_common_error_of_one_host_cancels_in_a_ratio():
    host = Host(cpus=4, busy_s=lambda t: 3.0 * t, sensors=[CPU_MODEL])
    a = attempt(host, "a", [0, 10], lambda t: 2.0 * t, reserved=0)
    b = attempt(host, "b", [0, 10], lambda t: 1.0 * t, reserved=0)
    result = attribute_attempts([a, b])
    energy_a, energy_b = result.job("a").energy, result.job("b").energy
    assert energy_a is not None
    assert energy_b is not None
    assert energy_a.high / energy_a.low > 1.5
    assert ratio(energy_a, energy_b) == JOULES((2.0, 2.0, 2.0))


def test_energy_between_and_power_tell_the_course():
    power = piecewise([0, 5, 10], [10, 30])
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": lambda t: 1e6 * power(t)})
    result = attribute_attempts([attempt(host, "a", [0, 2.5, 5, 7.5, 10], lambda t: 1.0 * t)])
    window = result.energy_between("a", 4, 6)
    assert window is not None
    assert (window.value, window.low, window.high) == JOULES((40, 38, 42))
    assert result.energy_between("a", 20, 30) is None
    course = result.power("a")
    assert list(course.start_s - 1e9) == JOULES([0, 2.5, 5, 7.5])
    assert list(course.end_s - 1e9) == JOULES([2.5, 5, 7.5, 10])
    assert list(course.components_W["cpu"]) == JOULES([10, 10, 30, 30])


def test_a_component_that_cannot_be_read_is_null_with_its_reason():
    unreadable = RAPL | {"terms": [], "counter": None, "reason": "permission denied"}
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, sensors=[unreadable])
    job = attribute_attempts([attempt(host, "a", [0, 1], lambda t: 1.0 * t)]).to_json()["jobs"][0]
    assert job["energy_J"] is None
    assert job["partial"]
    assert job["components"][0]["energy_J"] is None
    assert job["components"][0]["reason"] == "permission denied"


def test_a_card_that_two_meters_read_in_two_ways_is_counted_once():
    """A meter chooses the method at its start, and the driver may not answer then as it did before."""
    counters = {"GPU-a": lambda t: 1e5 * np.asarray(t)}
    one, other = (Host(sensors=[gpu("GPU-a") | {"method": name}], counters=counters) for name in ("nvml", "other"))
    holder = attempt(one, "holder", range(11), lambda t: 0 * t, gpus=["GPU-a"], reserved=0)
    beside = attempt(other, "beside", np.arange(2, 9, 0.5), lambda t: 0 * t, reserved=0)
    result = attribute_attempts([holder, beside])
    assert job_J(result, "holder") == JOULES(1000)
    totals = result.device_totals(result.hosts[0])
    assert sum(one.counted_J for one in totals) == JOULES(1000)


def test_an_energy_that_is_known_for_a_part_of_the_time_is_said_to_be_and_is_not_compared():
    """The card's counter is reset in a gap of the readings, so what it counted there is unknown."""
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, sensors=[gpu("GPU-a"), CPU_MODEL], counters={"GPU-a": lambda t: t})
    job = attempt(host, "job", [0, 9, 10], lambda t: 1.0 * t, gpus=["GPU-a"], rule="train")
    job.columns["gpu/GPU-a.raw"] = np.array([5e9, 1e5, 2e5])
    result = attribute_attempts([job])
    (unknown,) = result.job("job").unknown
    assert unknown.startswith("gpu: its energy is known for 10 % of the time alone (")
    assert known_standing(result.jobs)[0].incomparable == unknown
    assert result.energy_between("job", 2, 8) is None
    assert known(result.energy_between("job", 9.2, 9.8)).value > 0


def test_the_host_is_never_busier_than_its_processors_can_be():
    """Of two containers of one kernel, each sees a /proc/stat of its own: one is 5,000 s ahead."""
    ahead = Host(cpus=4, busy_s=lambda t: 5000 + 2.0 * t, sensors=[CPU_MODEL])
    one = attempt(dataclasses.replace(ahead, busy_s=lambda t: 2.0 * t), "one", range(11), lambda t: 1.0 * t)
    alone = job_J(attribute_attempts([one]), "one")
    other = attempt(ahead, "other", range(5, 16), lambda t: 1.0 * t)
    assert job_J(attribute_attempts([one, other]), "one") == pytest.approx(alone, rel=0.02)
    wrong = attempt(ahead, "wrong", range(11), lambda t: 1.0 * t)
    wrong.columns["busy_s"][5] = 1e5
    assert job_J(attribute_attempts([wrong]), "wrong") < 1.1 * alone
