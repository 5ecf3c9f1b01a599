"""Power over time: the jobs' attributed watts on one grid of bins, with the idle hours between runs cut out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from greenllm.footprint.rows import PowerSegment

Array = NDArray[np.float64]
GAP_s = 30.0


@dataclass(frozen=True)
class PowerCourse:
    """The power (W) of one component during one job, from each of `start_s` to the same of `end_s` (Unix time)."""

    stage: str
    component: str
    start_s: Array
    end_s: Array
    power_W: Array


def segments(courses: Sequence[PowerCourse], gap_s: float = GAP_s) -> list[tuple[float, float]]:
    """Return the stretches of time that the courses cover; those less than `gap_s` apart are joined."""
    starts_s = np.concatenate([course.start_s for course in courses] or [np.empty(0)])
    ends_s = np.concatenate([course.end_s for course in courses] or [np.empty(0)])
    if not len(starts_s):
        return []
    order = np.argsort(starts_s, kind="stable")
    starts_s, covered_s = starts_s[order], np.maximum.accumulate(ends_s[order])
    first = np.flatnonzero(starts_s[1:] - covered_s[:-1] > gap_s) + 1
    begins, ends = [0, *first.tolist()], [*(first - 1).tolist(), -1]
    return [(float(starts_s[i]), float(covered_s[j])) for i, j in zip(begins, ends, strict=True)]


def series(courses: Sequence[PowerCourse], bins: int = 360) -> list[PowerSegment]:
    """Return, for each stretch of time, the mean power of each component and stage in bins of equal width.

    All bins have the same width, chosen so that there are about `bins` of them. The sum of power times width is the
    energy of the courses.
    """
    covered = segments(courses)
    width_s = max(sum(end - start for start, end in covered) / bins, 0.5)
    begins_s = np.array([begin for begin, _ in covered])
    counts = [max(1, int(np.ceil((end - begin) / width_s - 1e-9))) for begin, end in covered]
    energy_J: list[dict[str, dict[str, Array]]] = [defaultdict(dict) for _ in covered]
    for course in courses:
        lasting = course.end_s > course.start_s
        segment = np.searchsorted(begins_s, course.start_s, side="right") - 1
        for index in np.unique(segment[lasting]).tolist():
            target = energy_J[index][course.component].setdefault(course.stage, np.zeros(counts[index]))
            _add(target, course, lasting & (segment == index), covered[index][0], width_s)
    return [
        PowerSegment(
            started=begin,
            width_s=width_s,
            components={
                component: {
                    stage: [float(f"{value / width_s:.4g}") for value in values] for stage, values in stages.items()
                }
                for component, stages in own.items()
            },
        )
        for (begin, _), own in zip(covered, energy_J, strict=True)
    ]


def _add(target_J: Array, course: PowerCourse, chosen: NDArray[np.bool_], begin_s: float, width_s: float) -> None:
    """Add the energy of the chosen parts of a course to the bins, of which the first begins at `begin_s`."""
    start_s, end_s, power_W = course.start_s[chosen], course.end_s[chosen], course.power_W[chosen]
    last = len(target_J) - 1
    from_bin = np.minimum(last, ((start_s - begin_s) / width_s).astype(int))
    to_bin = np.minimum(last, ((end_s - begin_s) / width_s).astype(int))
    touched = to_bin - from_bin + 1
    part = np.repeat(np.arange(len(touched)), touched)
    bins = np.arange(len(part)) - np.repeat(np.cumsum(touched) - touched, touched) + from_bin[part]
    overlap_s = np.minimum(end_s[part], begin_s + (bins + 1) * width_s) - np.maximum(
        start_s[part], begin_s + bins * width_s
    )
    np.add.at(target_J, bins, np.maximum(0.0, overlap_s) * power_W[part])
