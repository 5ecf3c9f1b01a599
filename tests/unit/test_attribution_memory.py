"""The energy of memory is shared by the memory that jobs use or reserve."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hardware.ledgers import RAPL, Host, attempt, piecewise, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

from greenllm.attribution import Attempt, Attribution, attribute_attempts
from greenllm.attribution.result import DeviceTotals
from greenllm.ledger.file import HOST_MEMORY, TREE_MEMORY

JOULES = pytest.approx
GB = 1e9
DRAM: dict[str, Any] = RAPL | {"component": "dram", "device": "dram-0"}


def host_of(power_W: float, cpus: int = 4) -> Host:
    energy = piecewise([0, 10], [1e6 * power_W])
    return Host(cpus=cpus, sensors=[DRAM], counters={"dram-0": energy})


def with_memory(
    one: Attempt,
    used_B: Sequence[float | None],
    host_B: Sequence[float | None],
    size_B: float = 16 * GB,
    reserved_B: float | None = None,
) -> Attempt:
    """The attempt with readings of memory in its samples, None where one failed."""
    start = dataclasses.replace(
        one.start,
        memory_B=size_B,
        reserved_memory_B=reserved_B,
        columns=[*one.start.columns, TREE_MEMORY, HOST_MEMORY],
    )
    columns = one.columns | {
        name: np.array([np.nan if value is None else value for value in values], dtype=float)
        for name, values in ((TREE_MEMORY, used_B), (HOST_MEMORY, host_B))
    }
    return dataclasses.replace(one, start=start, columns=columns)


def steady(
    host: Host, job_id: str, used_B: float, in_use_B: float, cpu: float = 0.0, parent: str | None = None, **more: Any
) -> Attempt:
    """A job of ten seconds that uses one amount of memory."""
    times = np.arange(0, 11.0)
    one = attempt(host, job_id, times, lambda t: cpu * t, reserved=0, parent=parent)
    return with_memory(one, [used_B] * 11, [in_use_B] * 11, **more)


def energies(result: Attribution) -> Mapping[str, float]:
    (totals,) = result.device_totals(result.hosts[0])
    jobs = {job.id: job.energy.value for job in result.jobs if job.energy}
    return jobs | {"other": totals.other_J, "idle": totals.idle_J}


def test_a_job_gets_what_it_uses_or_reserved_whichever_is_more_and_not_by_its_cpu_time():
    host = host_of(16)  # a joule for each gigabyte and second
    uses = steady(host, "uses", 4 * GB, 7 * GB, cpu=0.1, reserved_B=3 * GB)
    reserves = steady(host, "reserves", 1 * GB, 7 * GB, cpu=3, reserved_B=5 * GB)
    allocated = energies(attribute_attempts([uses, reserves]))
    assert allocated == JOULES({"uses": 40, "reserves": 50, "other": 20, "idle": 50})
    active = energies(attribute_attempts([uses, reserves], "active"))
    assert active == JOULES({"uses": 40, "reserves": 10, "other": 20, "idle": 90})


def test_reservations_beyond_what_is_idle_shrink_by_one_factor():
    host = host_of(16)
    one = steady(host, "one", 2 * GB, 8 * GB, reserved_B=12 * GB)  # 10 GB unused
    two = steady(host, "two", 2 * GB, 8 * GB, reserved_B=8 * GB)  # 6 GB unused; 8 are idle
    assert energies(attribute_attempts([one, two])) == JOULES({"one": 70, "two": 50, "other": 40, "idle": 0}, abs=1e-6)


def test_a_nested_meters_memory_and_reservation_come_out_of_its_parents():
    host = host_of(16)
    outer = steady(host, "a", 5 * GB, 6 * GB, reserved_B=8 * GB)
    inner = steady(host, "a.b", 4 * GB, 6 * GB, parent="a", reserved_B=6 * GB)
    assert energies(attribute_attempts([outer, inner])) == JOULES({"a": 20, "a.b": 60, "other": 10, "idle": 70})


@pytest.mark.parametrize("inside_B", [3 * GB, 9 * GB])
def test_what_a_meter_inside_uses_is_taken_from_what_its_parent_reserved(inside_B: float) -> None:
    """Together they get what the tree uses or the parent reserved, whichever is more."""
    host = host_of(16)
    outer = steady(host, "a", 1 * GB + inside_B, 12 * GB, reserved_B=8 * GB)
    inner = steady(host, "a.b", inside_B, 12 * GB, parent="a")
    found = energies(attribute_attempts([outer, inner]))
    assert found["a.b"] == JOULES(10 * inside_B / GB)
    assert found["a"] + found["a.b"] == JOULES(10 * max(8.0, 1 + inside_B / GB))


def test_a_failed_reading_of_memory_is_not_zero_but_the_last_one():
    one = attempt(host_of(16), "a", [0, 2, 4, 10], lambda t: 0.0 * t, reserved=0)
    one = with_memory(one, [4 * GB, None, 8 * GB, 1 * GB], [8 * GB, None, None, 8 * GB])
    assert energies(attribute_attempts([one])) == JOULES({"a": 64, "other": 16, "idle": 80})


@pytest.mark.parametrize("missing", ["columns", "size", "readings"])
def test_where_memory_is_unknown_as_in_earlier_ledgers_it_is_shared_by_cpu_time(missing):
    host = host_of(16)
    old = attempt(host, "a", np.arange(0, 11.0), lambda t: 1.0 * t, reserved=2)
    if missing == "size":
        old = with_memory(old, [GB] * 11, [GB] * 11)
        old.start.memory_B = None
    elif missing == "readings":
        old = with_memory(old, [None] * 11, [GB] * 11)
    assert energies(attribute_attempts([old])) == JOULES({"a": 80, "other": 0, "idle": 80})
    new = steady(host, "b", 8 * GB, 8 * GB, cpu=1)  # beside a job whose memory is unknown
    assert energies(attribute_attempts([old, new])) == JOULES({"a": 80, "b": 40, "other": 0, "idle": 40})


def test_energy_between_follows_the_memory():
    one = attempt(host_of(16), "a", np.arange(0, 11.0), lambda t: 0.0 * t, reserved=0)
    one = with_memory(one, [2 * GB] * 5 + [6 * GB] * 6, [8 * GB] * 11)
    result = attribute_attempts([one])
    for start_s, end_s, energy_J in [(1, 3, 4), (4, 6, 8), (6, 8, 12)]:
        window = result.energy_between("a", start_s, end_s, ("dram",))
        assert window is not None
        assert window.value == JOULES(energy_J)


amounts = st.floats(0, 24 * GB)


@st.composite
def worlds(draw):
    """A host and 1 to 4 attempts, some nested, whose readings of memory disagree, fail, and exceed the host's."""
    host = dataclasses.replace(host_of(draw(st.floats(0, 50))), busy_s=piecewise([0, 10], [draw(st.floats(0, 4))]))
    attempts: list[Attempt] = []
    for number in range(draw(st.integers(1, 4))):
        times = sorted(draw(st.lists(st.integers(0, 1000), min_size=2, max_size=8, unique=True)))
        outer = draw(st.sampled_from([None, *(a.id for a in attempts)]))
        job_id = f"{outer}.{number}" if outer else f"job{number}"
        one = attempt(host, job_id, [t / 100 for t in times], piecewise([0, 10], [1]), reserved=1, parent=outer)
        if not draw(st.sampled_from([False] * 7 + [True])):
            readings = st.lists(st.one_of(amounts, st.none()), min_size=len(times), max_size=len(times))
            reserved_B = draw(st.one_of(st.none(), amounts))
            one = with_memory(one, draw(readings), draw(readings), reserved_B=reserved_B)
        attempts.append(one)
    return attempts


def totals(result: Attribution) -> dict[str, float]:
    numbers = {job.id: 0.0 if job.energy is None else job.energy.value for job in result.jobs}
    for row in rows(result):
        numbers |= {key: getattr(row, key) for key in ("counted_J", "other_J", "idle_J")}
    return numbers


def rows(result: Attribution) -> list[DeviceTotals]:
    return [row for host in result.hosts for row in result.device_totals(host)]


def finer(one: Attempt, at_s: Sequence[float]) -> Attempt:
    """The same attempt with more samples that hold no new information: of memory, the last reading again."""
    times = one.columns["monotonic_s"]
    more = np.union1d(times, [t for t in at_s if times.min() < t < times.max()])
    row = np.searchsorted(times, more, side="right") - 1
    held = {name: one.columns[name][row] for name in (TREE_MEMORY, HOST_MEMORY) if name in one.columns}
    columns = {name: np.interp(more, times, values) for name, values in one.columns.items() if name not in held}
    return dataclasses.replace(one, columns=columns | held)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from(["allocated", "active"]))
def test_parts_are_never_negative_and_sum_to_what_was_counted(attempts, policy):
    result = attribute_attempts(attempts, policy)
    assert result.troubles == []
    for row in rows(result):
        assert min(row.jobs_J, row.other_J, row.idle_J) >= -1e-9
        assert row.counted_J == JOULES(row.jobs_J + row.other_J + row.idle_J, abs=1e-6)
    assert all(job.energy is None or job.energy.value >= -1e-9 for job in result.jobs)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False), st.lists(st.floats(0, 10), max_size=12))
def test_permuting_and_splitting_samples_changes_nothing(attempts, random, more):
    before = totals(attribute_attempts(attempts))
    assert totals(attribute_attempts(shuffled(attempts, random))) == JOULES(before, rel=1e-9, abs=1e-9)
    split = [finer(one, more) for one in attempts]
    assert totals(attribute_attempts(split)) == JOULES(before, rel=1e-6, abs=1e-4)
