"""A counter that is renewed at intervals: what it shows is as old as its last renewal.

A card renews its energy counter every 20 to 100 ms (arXiv 2312.02741), so a job's first and last readings are each up
to that late: at 400 W, 40 J. The meters poll at both edges of a job (greenllm.meter.change_detection), which shows the
instants of renewal, at which the counter's value was true. A job begins right after one. It ends between two; the time
between its end and the next renewal has the power of the period after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from greenllm.attribution.attempt import Array
from greenllm.attribution.merging import Series
from greenllm.attribution.refresh_period import LONGEST_S

# Readings closer than this (s) locate the renewal between them well enough.
CLOSE_S = 0.03
# The counter's value at an edge follows from one of two assumptions: the power was constant over the edge's period, or
# it stepped at the edge. If it stepped elsewhere in the period, either is wrong, at most by this many times the
# difference between the two (simulated square waves, periods of 0.2 to 5 s).
OFF = 1.5


@dataclass
class TickingCounter(Series):
    """A series through the instants of renewal.

    `edge_deviations`: uncertainty (in the series' unit) of the interpolated value at each job's start or end.
    """

    edges_s: Array = field(kw_only=True)
    edge_deviations: Array = field(kw_only=True)

    def halfwidth(self, start_s: float, end_s: float) -> float:
        """Return the 95 % half-width of the growth between two times, from the edges that coincide with them."""
        own = (self.edges_s == start_s) | (self.edges_s == end_s)
        return OFF * float(np.hypot.reduce(self.edge_deviations[own], initial=0.0))


def renewed(series: Series, edges: Sequence[float]) -> Series:
    """Return the series through the instants of renewal; the series itself if no renewals are found.

    `edges` are the first and last moments of the jobs that hold the device (CLOCK_MONOTONIC, s).
    """
    values, first = np.unique(series.values, return_index=True)
    last = np.append(first[1:] - 1, len(series.times) - 1)
    times = _instants(series.times[first], series.times[last])
    if times is None:
        return series
    knots = [_at_edge(times, values, edge_s) for edge_s in sorted(edges)]
    known = [knot for knot in knots if knot is not None]
    if not known:
        return Series(times, values, series.unknown)
    edges_s, at_edges, deviations = np.array(known).T
    order = np.argsort(np.concatenate([times, edges_s]), kind="stable")
    return TickingCounter(
        np.concatenate([times, edges_s])[order],
        np.maximum.accumulate(np.concatenate([values, at_edges])[order]),
        series.unknown,
        edges_s=edges_s,
        edge_deviations=deviations,
    )


def _instants(first_s: Array, last_s: Array) -> Array | None:
    """Return when each value was renewed, from its first and last reading; None if the counter does not tick.

    If the readings around a renewal are close to each other, it is taken to be midway between them. If those around the
    renewal before it are not, that one was a period earlier. Any other value was renewed within the period before its
    first reading, and is taken to be in the middle of it.
    """
    wide_s = np.append(np.inf, first_s[1:] - last_s[:-1])
    middles = first_s - wide_s / 2
    close = wide_s < CLOSE_S
    both = close[1:] & close[:-1]
    if not both.any():
        return None
    period_s = float(np.median(np.diff(middles)[both]))
    if not 2 * np.median(wide_s[close]) < period_s < LONGEST_S:
        return None
    close = wide_s < period_s / 2
    instants = np.where(close, middles, first_s - period_s / 2)
    before = np.flatnonzero(~close[:-1] & close[1:])
    instants[before] = np.minimum(first_s[before], middles[before + 1] - period_s)
    renewed_s: Array = np.maximum.accumulate(instants)
    return renewed_s


def _at_edge(times: Array, values: Array, edge_s: float) -> tuple[float, float, float] | None:
    """Return an edge's time, the counter's value there, and its difference from linear interpolation.

    The rest of the edge's period has the power of the next period: the job's after a start, an idle card's after an
    end. None where no such neighbours were read.
    """
    after = int(np.searchsorted(times, edge_s, side="right"))
    before = after - 1
    if before < 0 or after + 1 >= len(times):
        return None
    power = (values[after + 1] - values[after]) / (times[after + 1] - times[after])
    value = max(values[before], values[after] - power * (times[after] - edge_s))
    straight = np.interp(edge_s, times, values)
    return edge_s, float(value), float(abs(value - straight))
