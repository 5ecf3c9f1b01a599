"""The fit: external energy = Σ gain · a device's energy + offset · time, over windows between external readings.

A sensor reports a moment some time after it, and the two meters' clocks differ: the devices are read `lag_s` later than
the external meter, and the lag is fitted with the rest.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import matmul_toeplitz
from scipy.optimize import minimize_scalar
from scipy.special import stdtrit

from greenllm.attribution.attempt import Array
from greenllm.attribution.merging import Series
from greenllm.attribution.sharing import within
from greenllm.estimate import Interval

# At a window's edges the energy is interpolated between two readings. The error at each edge is at most a quarter of
# the power's swing times the period. In a window of ten periods that is a few percent, which hundreds of windows
# average out.
PERIODS_PER_WINDOW = 10
LAGS_S = (-5.0, 5.0)
LAG_STEP_S = 0.1
# With fewer degrees of freedom the scatter is hardly known (Student's t is 2.6 at five).
FEWEST_FREE = 5
# The relative bounds of a polled power without calibration: a gain less certain than that is refused.
WIDEST_GAIN = 0.5


class CannotCalibrateError(ValueError):
    """The readings do not determine gain and offset; the message says why, and what to record instead."""


@dataclass(frozen=True)
class Fit:
    """Gains (J/J, by device), offset and lag, with 95 % bounds.

    `covariance` is that of the gains, in their order, and the offset; times `coverage_factor`² it gives squared
    95 % half-widths. `powers_W` are each device's lowest, mean and highest power among the windows, uncalibrated.
    `lag_s` is the time by which the devices report a moment later than the external meter; None if the load has no edge
    that would show it. `residual_W` is the root mean square of the windows' residuals.
    """

    gains: Mapping[str, Interval]
    offset_W: Interval
    lag_s: Interval | None
    covariance: Array
    coverage_factor: float
    powers_W: Mapping[str, tuple[float, float, float]]
    residual_W: float
    windows: int
    window_s: float
    averaging_s: float

    @property
    def delay_s(self) -> float:
        """The time (s) by which the devices counted the same energy later than the external meter."""
        return (self.lag_s.value if self.lag_s else 0.0) + self.averaging_s / 2

    def energy_J(self, devices: Mapping[str, Series], start_s: float, end_s: float) -> float:
        """Return the energy (J) that the external meter would have counted between two times of its clock."""
        edges = np.array([start_s, end_s]) + self.delay_s
        counted_J = sum(self.gains[name].value * float(series.growth(edges)[0]) for name, series in devices.items())
        return counted_J + self.offset_W.value * (end_s - start_s)


def fit(
    external: Series,
    devices: Mapping[str, Series],
    spans: Sequence[tuple[float, float]] | None = None,
    *,
    window_s: float | None = None,
    lags_s: tuple[float, float] = LAGS_S,
    averaging_s: float = 0.0,
    accuracy: float = 0.0,
) -> Fit:
    """Fit gains and offset by ordinary least squares over windows between external readings.

    All series are joules over seconds of one clock, but for a constant lag within `lags_s`. `spans` are the times in
    which all devices were read (default: from the latest first to the earliest last reading). `window_s` is the
    windows' least length (default: ten periods of the slowest device). `averaging_s`: the devices report a running mean
    over this time, so the external energy is averaged likewise. `accuracy` is that of the external meter, as a 95 %
    fraction of its reading: its error is common to all windows, so their scatter cannot show it.

    Raises CannotCalibrateError where there are too few windows, or where these do not separate gain and offset.
    """
    if spans is None:
        spans = [(max(s.times[0] for s in devices.values()), min(s.times[-1] for s in devices.values()))]
    if window_s is None:
        window_s = PERIODS_PER_WINDOW * max(float(np.median(np.diff(s.times))) for s in devices.values())
    if averaging_s > 0:
        external = _averaged(external, averaging_s)
    starts, ends = _windows(external, spans, window_s, lags_s)
    fewest = len(devices) + 2 + FEWEST_FREE
    if len(starts) < fewest:
        raise CannotCalibrateError(
            f"meter and ledgers have {len(starts)} windows of {window_s:.3g} s in common, {fewest} are needed "
            f"(clocks may differ by {lags_s[0]:g} to {lags_s[1]:g} s): record for longer"
        )
    windows = _Windows(starts, ends, _growth(external, starts, ends), devices)
    lag, solution = _lag(windows, lags_s)
    lag_s = lag.value if lag else min(max(0.0, lags_s[0]), lags_s[1])
    solution = solution or windows.solution(lag_s)
    if solution is None:
        raise CannotCalibrateError(_TOO_STEADY)
    constants = windows.constants(lag_s)

    factor = solution.factor
    covariance = solution.covariance[: len(constants), : len(constants)]
    covariance = covariance + (accuracy / factor) ** 2 * np.outer(constants, constants)
    half = factor * np.sqrt(np.diag(covariance))
    intervals = [Interval(float(c), float(c - h), float(c + h)) for c, h in zip(constants, half, strict=True)]
    gains = dict(zip(devices, intervals, strict=False))
    for name, gain in gains.items():
        if not gain.high - gain.value < WIDEST_GAIN * gain.value:
            raise CannotCalibrateError(
                f"{_TOO_STEADY} (gain of {name}: {gain.value:.3g} ± {gain.high - gain.value:.2g})"
            )
    durations_s = windows.durations_s
    powers_W = windows.design(lag_s) / durations_s[:, None]
    return Fit(
        gains=gains,
        offset_W=intervals[-1],
        lag_s=lag,
        covariance=covariance,
        coverage_factor=factor,
        powers_W={
            name: (float(power.min()), float(np.average(power, weights=durations_s)), float(power.max()))
            for name, power in zip(devices, powers_W.T, strict=False)
        },
        residual_W=float(np.sqrt(np.mean((solution.residuals / durations_s) ** 2))),
        windows=len(starts),
        window_s=window_s,
        averaging_s=averaging_s,
    )


_TOO_STEADY = (
    "the load does not vary enough to tell gain from offset (or one device from another): record a while of idle, "
    "a while of full load, and some in between, with the devices busy at different times"
)


@dataclass(frozen=True)
class _Windows:
    """The energy that the external meter counted in each window (J), and the devices that are fitted to it."""

    starts: Array
    ends: Array
    counted_J: Array
    devices: Mapping[str, Series]

    @property
    def durations_s(self) -> Array:
        return self.ends - self.starts

    def design(self, lag_s: float) -> Array:
        """One row for each window: each device's energy (J) with the lag, and the duration (s)."""
        energies = [_growth(series, self.starts + lag_s, self.ends + lag_s) for series in self.devices.values()]
        return np.column_stack([*energies, self.durations_s])

    def constants(self, lag_s: float) -> Array:
        """Gains and offset by least squares."""
        design = self.design(lag_s)
        scale = np.linalg.norm(design, axis=0)
        scale[scale == 0] = 1.0
        solution: Array = np.linalg.lstsq(design / scale, self.counted_J, rcond=None)[0] / scale
        return solution

    def residuals(self, lag_s: float) -> Array:
        left: Array = self.counted_J - self.design(lag_s) @ self.constants(lag_s)
        return left

    def misfit(self, lag_s: float) -> float:
        return float(np.sum(self.residuals(lag_s) ** 2))

    def solution(self, lag_s: float, fitted_lag: bool = False) -> "_Solution | None":
        """The uncertainty of the constants, and of the lag where it was fitted too."""
        design = self.design(lag_s)
        if fitted_lag:
            ahead, behind = self.design(lag_s + LAG_STEP_S / 2), self.design(lag_s - LAG_STEP_S / 2)
            design = np.column_stack([design, (ahead - behind) @ self.constants(lag_s) / LAG_STEP_S])
        return _solution(design, self.residuals(lag_s))


def _lag(windows: _Windows, lags_s: tuple[float, float]) -> tuple[Interval | None, "_Solution | None"]:
    """Return the lag that fits best, and the solution there; None where the load does not show it.

    Raises CannotCalibrateError where it is at the edge of the lags that were tried.
    """
    low, high = lags_s
    lag_s = _least(windows.misfit, low, high)
    solution = windows.solution(lag_s, fitted_lag=True)
    if solution is None or solution.half_width(-1) > (high - low) / 2:
        return None, None
    if min(lag_s - low, high - lag_s) < LAG_STEP_S / 2:
        raise CannotCalibrateError(
            f"readings and ledgers agree best {lag_s:+.1f} s apart, at the edge of what was tried: the meter's clock "
            "is off, or it measures something else; set the clock, or correct the readings' times"
        )
    return Interval(lag_s, lag_s - solution.half_width(-1), lag_s + solution.half_width(-1)), solution


@dataclass(frozen=True)
class _Solution:
    """A least-squares solution's residuals (J), its parameters' covariance, and the factor to 95 % half-widths."""

    residuals: Array
    covariance: Array
    factor: float

    def half_width(self, i: int) -> float:
        return float(self.factor * np.sqrt(self.covariance[i, i]))


def _solution(design: Array, residuals: Array) -> _Solution | None:
    """Return covariance and coverage factor; None where the columns of the design depend on each other.

    Slowly drifting residuals hold less information than their number. They are modelled as autoregressive of first
    order, whose correlation r is estimated too low from few of them, by (1 + 3r)/n (Kendall 1954,
    doi:10.1093/biomet/41.3-4.403); a negative r is set to zero. The covariance is that of ordinary least squares under
    such residuals; for Student's t, n of them equal n·(1 − r)/(1 + r) independent ones (Bayley & Hammersley 1946,
    doi:10.2307/2983560).
    """
    scale = np.linalg.norm(design, axis=0)
    if not scale.all() or np.linalg.matrix_rank(design / scale, tol=1e-6) < design.shape[1]:
        return None
    n, unknowns = design.shape
    scaled = design / scale
    squares = float(residuals @ residuals)
    r = float(residuals[1:] @ residuals[:-1]) / squares if squares > 0 else 0.0
    r = min(max(0.0, r + (1 + 3 * r) / n), 0.99)
    free = max(1.0, n * (1 - r) / (1 + r) - unknowns)
    variance = squares / n * (free + unknowns) / free
    inverse = np.linalg.inv(scaled.T @ scaled)
    correlated = scaled.T @ matmul_toeplitz(r ** np.arange(n), scaled)
    covariance = variance * (inverse @ correlated @ inverse) / np.outer(scale, scale)
    return _Solution(residuals, covariance, float(stdtrit(free, 0.975)))


def _averaged(series: Series, averaging_s: float) -> Series:
    """Return the energy whose slope is the power's mean over the last `averaging_s`.

    The power before the first reading is assumed equal to its mean over the same time after it.
    """
    start_s = float(series.times[0])
    first_J, next_J = np.interp([start_s, start_s + averaging_s], series.times, series.values)
    times = np.concatenate([[start_s - averaging_s], series.times])
    values = np.concatenate([[first_J - (next_J - first_J)], series.values])
    knots = np.union1d(times, series.times - averaging_s)
    energy_J = np.interp(knots, times, values)
    integral = np.concatenate([[0.0], np.cumsum(np.diff(knots) * (energy_J[1:] + energy_J[:-1]) / 2)])
    at_end, at_start = (np.interp(at, knots, integral) for at in (series.times, series.times - averaging_s))
    return Series(series.times, (at_end - at_start) / averaging_s, series.unknown)


def _growth(series: Series, starts: Array, ends: Array) -> Array:
    at_end, at_start = (np.interp(times, series.times, series.values) for times in (ends, starts))
    grown: Array = at_end - at_start
    return grown


def _windows(
    external: Series, spans: Iterable[tuple[float, float]], window_s: float, lags_s: tuple[float, float]
) -> tuple[Array, Array]:
    """Return starts and ends of windows: each from a reading to the first one at least `window_s` later.

    They stay within the spans at every lag, so that all lags are compared by the same windows. A window in which the
    meter's energy is unknown is dropped.
    """
    least_s = window_s * (1 - 1e-9)
    starts, ends = [], []
    for first_s, last_s in spans:
        inside = external.times[within(external.times, first_s - lags_s[0], last_s - lags_s[1])]
        edges = list(inside[:1])
        while edges and (following := int(np.searchsorted(inside, edges[-1] + least_s))) < len(inside):
            edges.append(inside[following])
        for start, end in itertools.pairwise(edges):
            if not any(start < gap.end_s and gap.start_s < end for gap in external.unknown):
                starts.append(float(start))
                ends.append(float(end))
    return np.array(starts), np.array(ends)


def _least(misfit: Callable[[float], float], low: float, high: float) -> float:
    """Return where the misfit is least: the best of a grid, refined between its neighbours."""
    if low == high:
        return low
    grid = np.linspace(low, high, max(3, round((high - low) / LAG_STEP_S) + 1))
    best = int(np.argmin([misfit(float(lag_s)) for lag_s in grid]))
    between = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    refined = minimize_scalar(misfit, bounds=between, method="bounded", options={"xatol": 1e-4})
    return float(refined.x if refined.fun < misfit(float(grid[best])) else grid[best])
