"""The busy time of a host's processors: the kernel's, and at least that of the metered jobs."""

from collections.abc import Sequence

import numpy as np

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.merging import Series, Unknown, merge_busy
from greenllm.attribution.nesting import parent_among
from greenllm.attribution.sharing import stretches, within
from greenllm.ledger.file import BUSY
from greenllm.meter.host import LEAST_BUSY, said_too_little

# A kernel adds a tick (10 ms at most) when it ends, and meters read it at moments of their own.
TICKS_S = 0.05


def host_busy(attempts: Sequence[Attempt], cpus: int) -> Series:
    """Return the busy time (CPU seconds) of a host of `cpus` processors; `unknown`: the kernel counts too little.

    If /proc/stat cannot be read, counts nothing (gVisor's holds zeros), or less than the jobs' clocks, the busy time is
    that of all jobs together, at most `cpus` times the duration. The choice is made for each stretch of time with the
    same jobs: within one, either clock may be ahead for a while.
    """
    kernel = _at_most(merge_busy(attempts), cpus)
    cpu = {a.id: a.series("cpu_s") for a in attempts}
    by_id = {a.id: a for a in attempts}
    spans: list[tuple[Array, Array]] = []  # where the jobs' clocks count more: edges, and the growth between them
    unknown = []
    for start_s, end_s, present in stretches(attempts):
        ids = {a.id for a in present}
        outer = [cpu[a.id] for a in present if parent_among(a, ids, by_id) is None]
        ends = np.array([start_s, end_s])
        jobs_s = sum(float(np.diff(np.interp(ends, *one))[0]) for one in outer)
        readable = any(a.reads(BUSY) for a in present)
        kernel_s = float(kernel.growth(ends)[0]) if readable else None
        if kernel_s is not None and kernel_s >= jobs_s:
            continue
        if present and said_too_little(kernel_s, jobs_s):
            unknown.append(Unknown(start_s, end_s, LEAST_BUSY))
        edges = np.unique(np.concatenate([ends, *(times[within(times, start_s, end_s)] for times, _ in outer)]))
        growth = sum((np.diff(np.interp(edges, *one)) for one in outer), np.zeros(len(edges) - 1))
        spans.append((edges, growth * min(1.0, cpus * (end_s - start_s) / jobs_s if jobs_s else 1.0)))
    if not spans:
        return kernel
    return _replaced(kernel, spans, unknown)


def _at_most(kernel: Series, cpus: int) -> Series:
    """Return the series without growth that the processors cannot have.

    Such growth is a wrong reading, or the counter of another container. TICKS_S more is allowed in each step, since the
    kernel counts in ticks.
    """
    if not len(kernel.times):
        return kernel
    steps = np.minimum((np.diff(kernel.times) + TICKS_S) * cpus, np.diff(kernel.values))
    return Series(kernel.times, kernel.values[0] + np.concatenate([[0.0], np.cumsum(steps)]), kernel.unknown)


def _replaced(kernel: Series, spans: Sequence[tuple[Array, Array]], unknown: list[Unknown]) -> Series:
    """Return the series with its growth replaced in `spans` (edges, growth between them)."""
    times = np.unique(np.concatenate([kernel.times, *(edges for edges, _ in spans)]))
    growth = kernel.growth(times)
    for edges, own in spans:
        first, last = np.searchsorted(times, [edges[0], edges[-1]])
        course = np.concatenate([[0.0], np.cumsum(own)])
        growth[first:last] = np.diff(np.interp(times[first : last + 1], edges, course))
    return Series(times, np.concatenate([[0.0], np.cumsum(growth)]), unknown)
