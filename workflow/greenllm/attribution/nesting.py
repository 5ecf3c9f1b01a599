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


def unused_reservations(
    present: Sequence[Attempt],
    by_id: Mapping[str, Attempt],
    used: Array,
    size: float,
    reserved: Callable[[Attempt], float | None],
) -> Array:
    """Return the share of a resource that each attempt (row) reserved and that nothing uses, in each interval (column).

    `used` is the share that each uses without the meters inside it, `size` the resource in the unit of reservations.
    What a meter inside uses beyond its own reservation is taken from what its parent reserved.
    """
    own = own_reservations(present, by_id, reserved)
    ids = {a.id for a in present}
    row = {a.id: i for i, a in enumerate(present)}
    unused = np.zeros_like(used)
    inside = np.zeros_like(used)
    for attempt in sorted(present, key=lambda a: -a.id.count(".")):  # children first
        i = row[attempt.id]
        left = own[attempt.id] / size - used[i] - inside[i]
        unused[i] = np.maximum(0.0, left)
        if parent := parent_among(attempt, ids, by_id):
            inside[row[parent]] += np.maximum(0.0, -left)
    return unused


def charged(used: Array, unused: Array, busy: Array, policy: str) -> Array:
    """Return the share of a resource that each job (row) is charged for in each interval (column).

    `used` and `unused` are shares of the resource by job: what it uses, and what it reserved and nothing uses. `busy`
    is the share that jobs and other processes use. By policy "active" a job is charged for what it uses. By
    "allocated" it is also charged for what it reserved and nothing uses, where that is idle; if jobs reserved more than
    is idle, all of these parts shrink by one factor.
    """
    if policy != "allocated":
        return used
    wanted = unused.sum(axis=0)
    factor = np.minimum(1.0, np.divide(1.0 - busy, wanted, out=np.zeros_like(busy), where=wanted > 0))
    charged: Array = used + factor * unused
    return charged
