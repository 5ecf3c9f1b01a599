"""The error that no reader of a power can avoid if the power is refreshed only now and then."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from hardware.simulated import SimulatedGpu

Array = npt.NDArray[np.float64]
PHASES = 500  # simulated for each figure
SEED = 1


def forced_halfwidth_J(gpus: Sequence[SimulatedGpu], duration_s: float) -> float:
    """Return the 95 % quantile, over loads and phases, of a perfect reader's absolute error, in joules.

    The reader sees every published value once and assumes it for its refresh period, cut at the job's start and end.
    The time left at the end gets the last value. The reader does not know the load's period, nor the phase of load or
    refresh: an interval that it states must be valid for all of them. The loads are the GPUs' square waves for
    `duration_s`, with idle power before and after.
    """
    return float(np.quantile(np.concatenate([_errors_J(gpu, duration_s) for gpu in gpus]), 0.95))


def _errors_J(gpu: SimulatedGpu, duration_s: float) -> Array:
    """Return the perfect reader's absolute errors at many phases, in joules."""
    chance = np.random.default_rng(SEED)
    refresh_s, window_s = gpu.refresh_s, gpu.window_s
    first_s = chance.random((PHASES, 1)) * refresh_s
    wave_phase = chance.random((PHASES, 1))
    shown_s = first_s + refresh_s * np.arange(int(duration_s / refresh_s) + 1)

    def energy_J(t: Array) -> Array:
        inside = np.clip(t, 0, duration_s)
        return _wave_J(gpu, inside, wave_phase) - _wave_J(gpu, 0 * inside, wave_phase) + gpu.idle_W * (t - inside)

    shown_W = (energy_J(shown_s) - energy_J(shown_s - window_s)) / window_s
    seen = shown_s <= duration_s
    until_s = np.where(seen, shown_s, duration_s)
    lengths_s = np.diff(until_s, axis=1, prepend=0.0)
    # a value published after the end is not seen: the last one before it remains
    last = np.maximum(seen.sum(axis=1, keepdims=True) - 1, 0)
    values_W = np.where(seen, shown_W, np.take_along_axis(shown_W, last, axis=1))
    rest_s = duration_s - until_s[:, -1:]
    reported_J = (values_W * lengths_s).sum(axis=1) + (np.take_along_axis(shown_W, last, axis=1) * rest_s)[:, 0]
    truth_J = energy_J(np.full((PHASES, 1), duration_s))[:, 0] - energy_J(np.zeros((PHASES, 1)))[:, 0]
    return np.abs(reported_J - truth_J)


def _wave_J(gpu: SimulatedGpu, t: Array, phase: Array) -> Array:
    cycles, rest = np.divmod(t / gpu.period_s + phase, 1)
    rise = 1 - gpu.duty
    mean_W = gpu.low_W * rise + gpu.high_W * gpu.duty
    return gpu.period_s * (
        cycles * mean_W + gpu.low_W * np.minimum(rest, rise) + gpu.high_W * np.maximum(0, rest - rise)
    )
