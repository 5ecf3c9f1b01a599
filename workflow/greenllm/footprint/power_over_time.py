"""Power over time: the jobs' attributed watts on one grid of bins, with the idle hours between runs cut out."""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from greenllm.footprint.rows import PowerSegment

Piece = tuple[float, float, str, str, float]  # start and end in Unix time (s), stage, component, power (W)
GAP_s = 30.0


def segments(pieces: Iterable[Piece], gap_s: float = GAP_s) -> list[tuple[float, float]]:
    """Return the stretches of time that the pieces cover; those less than `gap_s` apart are joined."""
    found: list[tuple[float, float]] = []
    for start, end, *_ in sorted(pieces):
        if found and start - found[-1][1] <= gap_s:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def series(pieces: Sequence[Piece], bins: int = 360) -> list[PowerSegment]:
    """Return, for each stretch of time, the mean power of each component and stage in bins of equal width.

    All bins have the same width, chosen so that there are about `bins` of them. The sum of power times width is the
    energy of the pieces.
    """
    covered = segments(pieces)
    width = max(sum(end - start for start, end in covered) / bins, 0.5)
    members: list[list[Piece]] = [[] for _ in covered]
    starts = [first for first, _ in covered]
    for piece in pieces:
        if piece[1] > piece[0]:
            members[bisect.bisect_right(starts, piece[0]) - 1].append(piece)
    result = []
    for (first, last), own in zip(covered, members, strict=True):
        count = max(1, int(np.ceil((last - first) / width - 1e-9)))
        energy_J: dict[str, dict[str, NDArray[np.float64]]] = defaultdict(dict)
        for start, end, stage, component, power_W in own:
            target = energy_J[component].setdefault(stage, np.zeros(count))
            from_bin = min(count - 1, int((start - first) / width))
            to_bin = min(count - 1, int((end - first) / width))
            for index in range(from_bin, to_bin + 1):
                overlap = min(end, first + (index + 1) * width) - max(start, first + index * width)
                target[index] += max(0.0, overlap) * power_W
        result.append(
            PowerSegment(
                started=first,
                width_s=width,
                components={
                    component: {
                        stage: [float(f"{value / width:.4g}") for value in values] for stage, values in stages.items()
                    }
                    for component, stages in energy_J.items()
                },
            )
        )
    return result
