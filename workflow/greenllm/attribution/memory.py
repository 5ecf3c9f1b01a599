"""Whose a host's memory was: the shares by which the energy of its DRAM is shared out.

In an interval M is the host's memory, m_j what job j's process tree uses without the meters inside it, w_j what it
reserved. With b_j = m_j/M, a_j = w_j/M, r_j = max(0, a_j - b_j - what meters inside it use beyond their reservations),
and u the share of the memory in use,

    job j gets             b_j + min(1, (1 - u)/Σr) · r_j, which is max(m_j, w_j)/M where all reservations fit
    other processes get    u - Σb
    unallocated idle is    the rest

A reading holds until the next one. Meters do not read at one moment, and pages that processes share are counted in
parts, so that the sum of what is used may exceed M: then all that is used shrinks by one factor.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from greenllm.attribution.attempt import Array, Attempt
from greenllm.attribution.nesting import charged, children_among, unused_reservations
from greenllm.ledger.file import HOST_MEMORY, TREE_MEMORY


class MemoryShares(NamedTuple):
    """Shares of a host's memory in each interval: of each job (a row for each), of other processes, and idle."""

    jobs: Array
    other: Array
    idle: Array


def known(present: Sequence[Attempt]) -> bool:
    """Whether all meters present say what their jobs use, and one what the host uses.

    Ledgers of earlier versions do not; nor do those of hosts whose /proc hides it. DRAM is then shared by CPU time.
    """
    return all(a.start.memory_B is not None and a.has_read(TREE_MEMORY) for a in present) and any(
        a.has_read(HOST_MEMORY) for a in present
    )


def memory_shares(edges: Array, present: Sequence[Attempt], by_id: Mapping[str, Attempt], policy: str) -> MemoryShares:
    """Return the shares between the edges (CLOCK_MONOTONIC, s) of jobs whose memory is `known`."""
    middles = (edges[:-1] + edges[1:]) / 2
    size_B = max(a.start.memory_B or 0.0 for a in present)
    tree = {a.id: a.levels(TREE_MEMORY, middles) for a in present}
    own = dict(tree)
    for parent, children in children_among(present, by_id).items():
        own[parent] = np.maximum(0.0, tree[parent] - sum(tree[child] for child in children))
    used = np.stack([own[a.id] for a in present]) / size_B
    jobs = used.sum(axis=0)
    in_use = np.mean([a.levels(HOST_MEMORY, middles) for a in present if a.has_read(HOST_MEMORY)], axis=0) / size_B
    other = np.maximum(0.0, in_use - jobs)
    fit = 1.0 / np.maximum(1.0, jobs + other)
    used, other = used * fit, other * fit
    busy = np.minimum(1.0, used.sum(axis=0) + other)
    unused = unused_reservations(present, by_id, used, size_B, lambda a: a.start.reserved_memory_B)
    shares = charged(used, unused, busy, policy)
    return MemoryShares(shares, other, np.maximum(0.0, 1.0 - shares.sum(axis=0) - other))
