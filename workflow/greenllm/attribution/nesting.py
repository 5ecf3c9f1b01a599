"""Meters inside meters: what a child reserved and used is subtracted from its parent's."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from greenllm.attribution.attempt import Array, Attempt


def parent_among(attempt: Attempt, present: set[str], by_id: Mapping[str, Attempt]) -> str | None:
    """Return the nearest attempt around this one that is present, over meters whose ledgers are missing too.

    A nested meter's id is its parent's, a dot and a suffix.
    """
    parent, seen = attempt.parent, {attempt.id}
    while parent and parent not in seen:
        if parent in present:
            return parent
        seen.add(parent)
        parent = by_id[parent].parent if parent in by_id else parent.rpartition(".")[0]
    return None


def own_reservations(
    present: Sequence[Attempt], by_id: Mapping[str, Attempt], reserved: Callable[[Attempt], float | None]
) -> dict[str, float]:
    """Return what each attempt reserved for itself alone: a child's reservation is subtracted from its parent's."""
    own: dict[str, float] = {}
    left: dict[str, float] = {}
    ids = {a.id for a in present}
    for attempt in sorted(present, key=lambda a: a.id.count(".")):  # parents first
        asked = reserved(attempt) or 0.0
        if parent := parent_among(attempt, ids, by_id):
            asked = min(asked, left[parent])
            left[parent] -= asked
            own[parent] -= asked
        own[attempt.id] = left[attempt.id] = asked
    return own


def children_among(present: Sequence[Attempt], by_id: Mapping[str, Attempt]) -> dict[str, list[str]]:
    """Return {id: ids of the meters directly inside it} of the attempts present."""
    ids = {a.id for a in present}
    children: dict[str, list[str]] = {}
    for attempt in present:
        if parent := parent_among(attempt, ids, by_id):
            children.setdefault(parent, []).append(attempt.id)
    return children


def charged(used: Array, reserved: Array, busy: Array, policy: str) -> Array:
    """Return the share of a resource that each job (row) is charged for in each interval (column).

    `used` and `reserved` are shares of the resource by job, `busy` is the share that jobs and other processes use. By
    policy "active" a job is charged for what it uses. By "allocated" it is also charged for what it reserved and does
    not use, where that is idle; if jobs reserved more than is idle, all of these parts shrink by one factor.
    """
    if policy != "allocated":
        return used
    unused = np.maximum(0.0, reserved - used)
    wanted = unused.sum(axis=0)
    factor = np.minimum(1.0, np.divide(1.0 - busy, wanted, out=np.zeros_like(busy), where=wanted > 0))
    charged: Array = used + factor * unused
    return charged
