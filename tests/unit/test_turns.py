"""Servers that use one reservation in turn: what each is charged in its turn, on ledgers whose truth is known."""

from typing import Any

import numpy as np
import pytest
from hardware.ledgers import RAPL, Host, attempt, gpu
from hypothesis import given
from hypothesis import strategies as st
from narrowing import known

from greenllm.attribution import Attribution, attribute_attempts
from greenllm.attribution.turns import energy_in_turn

# Processors at 100 W and a GPU at 40 W; two servers answer in turn, for 10 s each, within a job that holds them.
CPU_W, GPU_W, TURN_S = 100.0, 40.0, 10.0
TURNS = {"job.a": (0.0, 10.0), "job.b": (10.0, 20.0)}


def measured(
    busy: float, *, cpus: int = 2, reserved: int = 2, gpus: tuple[str, ...] = (), waiting: float = 0.0
) -> Attribution:
    """Two servers that keep `busy` processors busy in their turn and `waiting` ones outside it."""

    def use(window_s: tuple[float, float]) -> Any:
        return lambda t: waiting * t + (busy - waiting) * np.clip(t - window_s[0], 0, TURN_S)

    host = Host(
        cpus=cpus,
        busy_s=lambda t: (busy + waiting) * np.asarray(t),
        counters={"package-0": lambda t: 1e6 * CPU_W * np.asarray(t), "GPU-a": lambda t: 1e3 * GPU_W * np.asarray(t)},
        sensors=[RAPL, gpu("GPU-a")],
    )
    times = np.linspace(0, 20, 41)
    servers = [attempt(host, name, times, use(window), reserved=0, parent="job") for name, window in TURNS.items()]
    held = attempt(host, "job", times, lambda t: (busy + waiting) * np.asarray(t), reserved=reserved, gpus=list(gpus))
    return attribute_attempts([held, *servers])


def turn_J(result: Attribution, name: str, threads: int, gpus: int = 0) -> float:
    return known(energy_in_turn(result, name, "job", TURNS[name], threads=threads, gpus=gpus)).value


def test_a_server_whose_threads_are_all_busy_is_charged_nothing_idle() -> None:
    result = measured(busy=1.0)
    own = known(result.energy_between("job.a", *TURNS["job.a"]))
    assert turn_J(result, "job.a", threads=1) == pytest.approx(own.value) == pytest.approx(CPU_W / 2 * TURN_S)


def test_a_server_is_charged_the_idle_part_of_its_threads() -> None:
    result = measured(busy=1.0)
    assert turn_J(result, "job.a", threads=2) == pytest.approx(CPU_W * TURN_S)
    assert turn_J(measured(busy=0.0), "job.a", threads=1) == pytest.approx(CPU_W / 2 * TURN_S)
    assert turn_J(measured(busy=0.5, cpus=4, reserved=2), "job.a", threads=2) == pytest.approx(CPU_W / 2 * TURN_S)


def test_a_server_that_uses_more_than_its_threads_is_charged_what_it_used() -> None:
    assert turn_J(measured(busy=2.0), "job.a", threads=1) == pytest.approx(CPU_W * TURN_S)


def test_a_server_is_never_charged_more_than_the_job_holds() -> None:
    result = measured(busy=0.5, cpus=4, reserved=1)
    held_J = sum(known(result.energy_between(name, *TURNS["job.a"])).value for name in ("job", "job.a"))
    assert turn_J(result, "job.a", threads=4) == pytest.approx(held_J)
    assert held_J < CPU_W * TURN_S  # which its four threads occupy


def test_the_jobs_gpus_are_charged_to_the_server_that_uses_them() -> None:
    result = measured(busy=1.0, gpus=("GPU-a",))
    without = turn_J(result, "job.a", threads=1)
    assert without == pytest.approx(CPU_W / 2 * TURN_S)
    assert turn_J(result, "job.a", threads=1, gpus=1) == pytest.approx(without + GPU_W * TURN_S)


def test_an_energy_is_unknown_where_the_server_was_not_sampled_or_no_gpu_was_read() -> None:
    result = measured(busy=1.0)
    assert energy_in_turn(result, "job.a", "job", (30.0, 40.0), threads=1, gpus=0) is None
    assert energy_in_turn(result, "job.a", "job", TURNS["job.a"], threads=1, gpus=1) is None
    with pytest.raises(KeyError):
        energy_in_turn(result, "job.c", "job", TURNS["job.a"], threads=1, gpus=0)


@given(
    st.floats(0, 3), st.floats(0, 0.5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0, 1])
)
def test_all_turns_together_are_at_most_the_job_with_its_servers(
    busy: float, waiting: float, reserved: int, threads_a: int, threads_b: int, gpus: int
) -> None:
    result = measured(busy, cpus=4, reserved=reserved, gpus=("GPU-a",) * gpus, waiting=waiting)
    turns_J = turn_J(result, "job.a", threads_a, gpus) + turn_J(result, "job.b", threads_b, gpus)
    assert turns_J <= known(result.job("job").energy_with_children).value * (1 + 1e-9) + 1e-6
