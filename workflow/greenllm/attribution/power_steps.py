"""When a power stepped between two of its readings."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenllm.attribution.attempt import Array
from greenllm.attribution.refresh_period import Brackets, Indices, regular_runs

# A change by more than this part of the whole range is a step; a smaller one is noise.
STEP_PART = 0.05
# Irregular steps are not independent, and some are not seen. So their deviation is multiplied by this factor. It covers
# loads that jitter by 2 % of their period, and random ones (tests/unit/test_polled_power.py).
IRREGULAR = 2.0


@dataclass(frozen=True)
class Steps:
    """Steps of the power: `at_s` (in a bracket), `jump_W`, and the `run` whose steps err together."""

    brackets: Brackets
    jump_W: Array
    at_s: Array
    run: Indices
    deviation_s: Array  # standard deviation of each run's mean instant


def find_steps(starts_s: Array, ends_s: Array, value_W: Array, slack_s: float) -> tuple[Steps, Indices, Indices]:
    """Find the steps of a power whose means over windows from `starts_s` to `ends_s` a card showed as `value_W`.

    `slack_s` is the uncertainty of the windows' times. Returns the steps, and for each window the number of the step
    in it and in the gap after it (-1: none).
    """
    jumps_W = np.diff(value_W)
    big = np.abs(jumps_W) > STEP_PART * np.ptp(value_W) if len(value_W) else jumps_W > 0
    in_window, in_gap = (np.full(len(value_W), -1, dtype=np.int64) for _ in range(2))
    found: list[tuple[float, float, float]] = []  # low, high, jump
    i = 0
    while i < len(jumps_W):
        if not big[i]:
            i += 1
        elif i + 1 < len(jumps_W) and big[i + 1] and (jumps_W[i] > 0) == (jumps_W[i + 1] > 0):
            # the step happened in the window between the two, and its mean shows when
            both_W = float(jumps_W[i] + jumps_W[i + 1])
            before = float(jumps_W[i + 1]) / both_W
            at_s = float(starts_s[i + 1] + before * (ends_s[i + 1] - starts_s[i + 1]))
            in_window[i + 1] = len(found)
            found.append((at_s - slack_s, at_s + slack_s, both_W))
            i += 2
        else:
            in_gap[i] = len(found)
            found.append((float(ends_s[i]) - slack_s, float(starts_s[i + 1]) + slack_s, float(jumps_W[i])))
            i += 1
    table = np.array(found).reshape(-1, 3)
    brackets, jump_W = Brackets(table[:, 0], table[:, 1]), table[:, 2]
    # the first and the last jump may be parts of a step outside the readings
    whole = np.array([not (in_gap[0] == k or in_gap[-2:-1] == k) for k in range(len(found))], dtype=bool)
    return Steps(brackets, jump_W, *_located(brackets, jump_W, whole)), in_window, in_gap


def _located(brackets: Brackets, jump_W: Array, whole: npt.NDArray[np.bool_]) -> tuple[Array, Indices, Array]:
    """Locate each step by regular instants through its bracket and its neighbours', ups and downs apart.

    Steps that are not `whole` form no run. Returns each step's time and run, and each run's standard deviation (s).
    """
    at_s = (brackets.low + brackets.high) / 2
    run_of = np.arange(len(brackets))
    deviation_s = (brackets.high - brackets.low) / 12**0.5
    for up in (True, False):
        chosen = np.flatnonzero(((jump_W > 0) == up) & whole)
        runs = list(regular_runs(brackets[chosen], np.arange(len(chosen))))
        for run in runs:
            numbers = np.arange(run.first, run.last + 1)
            at_s[chosen[numbers]] = run.instants(numbers)
            run_of[chosen[numbers]] = chosen[run.first]
            deviation_s[chosen[run.first]] = run.deviation_s * (1.0 if len(runs) == 1 else IRREGULAR)
    return np.clip(at_s, brackets.low, brackets.high), run_of, deviation_s
