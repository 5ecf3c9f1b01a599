"""Shares out each GPU's energy to the attempt that held it."""

from collections.abc import Mapping, Sequence

import numpy as np

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.devices import Device, watched
from greenllm.attribution.nesting import parent_among
from greenllm.attribution.sharing import Shares, stretches, within


def share_gpus(attempts: Sequence[Attempt], gpus: Sequence[Device]) -> Shares:
    """Share out GPUs: to the innermost holders in equal parts; without one to others, if they have a process on it."""
    shares = Shares()
    by_id = {a.id: a for a in attempts}
    for start, end, present in stretches(attempts):
        for gpu in watched(gpus, present) if present else []:
            holders = _holders(gpu, present, by_id)
            edges = np.array([start, end])
            if holders:
                edges = np.unique(np.concatenate([edges, *(a.times[within(a.times, start, end)] for a in holders)]))
                energies = {gpu.key(parameter): energy / len(holders) for parameter, energy in gpu.growth(edges)}
                for holder in holders:
                    shares.give(holder, edges, energies)
            else:
                times = gpu.series.times
                edges = np.unique(np.concatenate([edges, times[within(times, start, end)]]))
                occupied = _occupied(gpu, present, edges)
                for parameter, energy in gpu.growth(edges):
                    key = gpu.key(parameter)
                    shares.other[key] = shares.other.get(key, 0.0) + float(energy[occupied].sum())
                    shares.idle[key] = shares.idle.get(key, 0.0) + float(energy[~occupied].sum())
    shares.fill_course()
    return shares


def _holders(gpu: Device, present: Sequence[Attempt], by_id: Mapping[str, Attempt]) -> list[Attempt]:
    holders = [a for a in present if gpu.sensor.device in a.gpus]
    ids = {a.id for a in holders}
    outer = {parent_among(a, ids, by_id) for a in holders}
    return [a for a in holders if a.id not in outer]


def _occupied(gpu: Device, present: Sequence[Attempt], edges: Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Whether any meter saw a process on the GPU at the reading before each interval."""
    middles = (edges[:-1] + edges[1:]) / 2
    seen = np.zeros(len(middles), dtype=bool)
    column = f"{gpu.sensor.component}/{gpu.sensor.device}.processes"
    for attempt in present:
        if column in attempt.columns:
            times, processes = attempt.series_as_read(column)
            if len(times):
                row = np.clip(np.searchsorted(times, middles, side="right") - 1, 0, len(times) - 1)
                seen |= processes[row] > 0
    return seen
