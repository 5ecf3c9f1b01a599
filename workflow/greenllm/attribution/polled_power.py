"""Energy from a power that a card renews at intervals, and how uncertain the time between two windows makes it.

A card renews the power it shows every refresh period, as the mean over a window that ends there: 25 of every 100 ms
on an A100 or H100 (Z. Yang, K. Adamek, W. Armour, SC24, arXiv 2312.02741). Nothing is seen between two
windows. Where neighbouring windows agree, the power is assumed the same in between. Where they differ, the power
stepped somewhere between them, and the unknown instant is the error. A load that repeats in step with the refresh is
always seen at the same places of its period, so the errors of its steps add up instead of cancelling. Recurring steps
are therefore fitted by regular instants (`refresh_period.regular_runs`); what the windows leave open is the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from greenllm.attribution.attempt import Array
from greenllm.attribution.merging import Series, Unknown
from greenllm.attribution.power_steps import Steps, find_steps
from greenllm.attribution.refresh_period import NARROW, Indices, changes, number, refresh_period, regular_runs
from greenllm.ledger.records import Gauge
from greenllm.meter.change_detection import UNREAD

STANDARD = Gauge(unit_W=1.0)
# A run of more renewals than this has its own period; a shorter one has the period of all.
LONG_RUN = 20
NORMAL_95 = 1.96
# The error of a gap's mean, as a part of the squared difference of the two windows beside it. For noise that a window
# of a quarter period does not smooth: the gap's mean has 1/3 of a window's variance, the mean of the two windows 1/2.
# Together that is 5/6 of it, and the squared difference is twice a window's variance: 5/12.
NOISE_PART = 5 / 12


@dataclass
class PolledPower(Series):
    """The energy (J) of a polled power. `gap_variance_J2`: the variance (J²) of each gap without a step, by its end."""

    steps: Steps = field(kw_only=True)
    gap_ends_s: Array = field(kw_only=True)
    gap_variance_J2: Array = field(kw_only=True)

    def halfwidth(self, start_s: float, end_s: float) -> float:
        """Return the 95 % half-width of the energy between two times (CLOCK_MONOTONIC), from what was not seen."""
        steps = self.steps
        inside = (steps.at_s > start_s) & (steps.at_s < end_s)
        jumps_W = np.bincount(steps.run[inside], np.abs(steps.jump_W[inside]), minlength=len(steps.deviation_s))
        deviations_J = np.sort(jumps_W * steps.deviation_s)
        # If a load is in step with the refresh, all its ups are one run and all its downs another: the two largest
        # deviations. Both may be at the far ends of their brackets at once, so these two add up. Their errors are
        # uniform, so the far end is √3 deviations away.
        largest_J = 3**0.5 * float(deviations_J[-2:].sum())
        variance_J2 = float((deviations_J[:-2] ** 2).sum())
        for edge_s in (start_s, end_s):  # a step may be on either side of an edge
            near = (steps.brackets.low < edge_s) & (steps.brackets.high > edge_s)
            widths_s = steps.brackets.high[near] - steps.brackets.low[near]
            variance_J2 += float(((steps.jump_W[near] * widths_s) ** 2).sum()) / 12
        noise = (self.gap_ends_s > start_s) & (self.gap_ends_s < end_s)
        return float(np.hypot(largest_J, NORMAL_95 * (variance_J2 + self.gap_variance_J2[noise].sum()) ** 0.5))


@dataclass
class Stretches(Series):
    """The energy of a power that was not read all the time: in between it is unknown, and nothing is counted."""

    parts: Sequence[PolledPower] = field(kw_only=True)
    mean_s: float = field(kw_only=True)

    def halfwidth(self, start_s: float, end_s: float) -> float:
        """Return the 95 % half-width of the energy between two times (CLOCK_MONOTONIC), in what was read."""
        halfwidths_J = [part.halfwidth(start_s, end_s) for part in self.parts]
        if self.mean_s:
            # A mean lags by half its length: at either edge the error is up to the power's change over that time.
            inside = (self.times[1:] > start_s) & (self.times[:-1] < end_s) & (np.diff(self.times) > 0)
            power_W = np.diff(self.values)[inside] / np.diff(self.times)[inside]
            halfwidths_J += [float(np.ptp(power_W)) * self.mean_s / 2] * 2 if len(power_W) else []
        return float(np.hypot.reduce(halfwidths_J, initial=0.0))


def polled_power(times: Array, power_W: Array, gauge: Gauge = STANDARD) -> Series:
    """Return the energy of a power that was read at `times` (CLOCK_MONOTONIC, s, ascending), by any meters.

    Power may be in any unit (`gauge.unit_W` is not applied); the energy is in that unit times seconds. Where the gauge
    shows a mean of `mean_s`, changes at a job's edges are seen late or not at all.
    """
    cuts = np.flatnonzero(np.diff(times) > gauge.unread_s) + 1
    pieces = [(t, w) for t, w in zip(np.split(times, cuts), np.split(power_W, cuts), strict=True) if len(t) > 1]
    parts = [_polled(t, w, gauge) for t, w in pieces]
    bounds = [*times[:1], *(edge for t, _ in pieces for edge in t[[0, -1]]), *times[-1:]]
    unknown = [Unknown(float(a), float(b), UNREAD) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if b > a]
    if not parts:
        return Series(times, np.zeros_like(times), unknown)
    before_J = np.cumsum([0.0, *(part.values[-1] for part in parts)])
    return Stretches(
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values + energy_J for part, energy_J in zip(parts, before_J, strict=False)]),
        unknown,
        parts=parts,
        mean_s=gauge.mean_s,
    )


def _polled(times: Array, power_W: Array, gauge: Gauge) -> PolledPower:
    shown_s, slack_s, refresh_s = _refreshes(times, power_W, gauge.refresh_s)
    cycle = np.searchsorted(shown_s, times, side="right") - 1
    # the reading nearest to the middle of a refresh period belongs to it most surely
    away_s = np.abs(times - shown_s[cycle] - refresh_s / 2)
    order = np.lexsort((away_s, cycle))
    seen, first = np.unique(cycle[order], return_index=True)
    value_W, ends_s = power_W[order][first], shown_s[seen]
    starts_s = ends_s - gauge.window_part * refresh_s
    steps, in_window, in_gap = find_steps(starts_s, ends_s, value_W, slack_s)
    return _energy(starts_s, ends_s, value_W, steps, in_window, in_gap, *map(float, times[[0, -1]]))


def _refreshes(times: Array, power_W: Array, usual_s: float) -> tuple[Array, float, float]:
    """Return the instants at which the card renewed its power, how well they are known, and the period, in seconds.

    The first is no later than the first reading. `usual_s` is the period where the readings do not show it.
    """
    brackets = changes(times, power_W)
    period_s = refresh_period(brackets, usual_s) or usual_s
    brackets = brackets[brackets.high - brackets.low < NARROW * period_s]
    if not len(brackets):  # a steady power, or readings too far apart: each reading is an instant
        return times.copy(), 0.0, period_s
    runs = list(regular_runs(brackets, number(brackets, period_s)))
    # a run holds from half-way to the one before to half-way to the next
    middles_s = [(brackets.low[a.last] + brackets.high[b.first]) / 2 for a, b in pairwise(runs)]
    bounds_s = [float(times[0]), *middles_s, float(times[-1])]
    instants: list[Array] = []
    last_s = -np.inf
    for run, (begin_s, end_s) in zip(runs, pairwise(bounds_s), strict=True):
        long = run.period_s * (run.last - run.first) > LONG_RUN * period_s
        own_s = run.period_s if long else period_s
        turns = np.arange(np.floor((begin_s - run.at_s) / own_s) - 1, np.ceil((end_s - run.at_s) / own_s) + 1)
        own = run.at_s + (turns - run.index % 1) * own_s
        own = own[(own > last_s + period_s / 2) & (own <= end_s)]
        last_s = own[-1] if len(own) else last_s
        instants.append(own)
    return np.concatenate(instants), 1e-3 + 2 * max(run.deviation_s for run in runs), period_s


def _energy(
    starts_s: Array,
    ends_s: Array,
    value_W: Array,
    steps: Steps,
    in_window: Indices,
    in_gap: Indices,
    from_s: float,
    until_s: float,
) -> PolledPower:
    """Return the energy at the ends of pieces of constant power.

    Each window and the gap after it are cut in two, at the step where there is one.
    """
    before_W, after_W = np.roll(value_W, 1), np.roll(value_W, -1)
    partial, stepped = in_window >= 0, in_gap >= 0
    left_W = np.where(partial, before_W, value_W)
    right_W = np.where(partial, after_W, value_W)
    steps_at = np.append(steps.at_s, np.nan)  # number -1 is none
    window_cut_s = np.where(partial, steps_at[in_window], starts_s)
    next_s, next_W = np.append(starts_s[1:], until_s), np.append(left_W[1:], right_W[-1:])
    gap_cut_s = np.where(stepped, steps_at[in_gap], ends_s)
    between_W = np.where(stepped, next_W, (right_W + next_W) / 2)
    edges_s = np.stack([starts_s, window_cut_s, ends_s, gap_cut_s], axis=1).ravel()
    pieces_W = np.stack([left_W, right_W, right_W, between_W], axis=1).ravel()
    # the first window ended before it was first read: that part of it belongs to no job
    edges_s = np.maximum(from_s, np.maximum.accumulate(np.append(edges_s, next_s[-1])))
    gap_variance_J2 = NOISE_PART * np.where(stepped, 0.0, (next_W - right_W) * np.maximum(0.0, next_s - ends_s)) ** 2
    return PolledPower(
        edges_s,
        np.concatenate([[0.0], np.cumsum(pieces_W * np.diff(edges_s))]),
        steps=steps,
        gap_ends_s=next_s,
        gap_variance_J2=gap_variance_J2,
    )
